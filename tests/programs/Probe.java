// Probe, Java: prints what a program sees of the pod. The lines are described in tests/matrix.py.
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

public class Probe {
    static synchronized void say(Object... words) {
        StringBuilder line = new StringBuilder();
        for (Object word : words) {
            line.append(line.length() == 0 ? "" : " ").append(word);
        }
        System.out.println(line);
        System.out.flush();
    }

    public static void main(String[] args) throws Exception {
        say("env", System.getenv().getOrDefault("GREETING", ""));
        Path file = Path.of(System.getenv("PROBE_FILE"));
        say("file", Files.readString(file).strip());
        try (var members = Files.list(file.getParent())) {
            say("list", members.map(m -> m.getFileName().toString()).sorted().collect(Collectors.joining(",")));
        }
        // A JVM has no chdir: the real path stands for it.
        say("cwd", file.getParent().toRealPath(), Files.size(file));
        Process child = new ProcessBuilder("cat", file.getFileName().toString()).directory(file.getParent().toFile()).start();
        say("child", new String(child.getInputStream().readAllBytes()).strip());
        say("host", InetAddress.getLocalHost().getHostName());
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("PROBE_URL"))).build();
        say("call", client.send(request, HttpResponse.BodyHandlers.ofString()).body().strip());

        int port = Integer.parseInt(System.getenv("PROBE_PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("0.0.0.0", port), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            InetSocketAddress peer = exchange.getRemoteAddress();
            InetSocketAddress local = exchange.getLocalAddress();
            String path = exchange.getRequestURI().getPath();
            say("request", path, peer.getAddress().getHostAddress(), peer.getPort(),
                local.getAddress().getHostAddress(), local.getPort());
            byte[] body = "program java".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
            if (path.equals("/stop")) {
                say("bye");
                Runtime.getRuntime().halt(7);
            }
        });
        server.start();
        say("listening", server.getAddress().getAddress().getHostAddress(), server.getAddress().getPort());
    }
}
