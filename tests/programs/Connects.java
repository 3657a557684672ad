import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/** Connects to HOST at each PORT of the arguments in three ways, reads /app/config.yaml by itself and by a child, and serves one call on 8080. */
class Connects {
    public static void main(String[] arguments) throws Exception {
        System.out.println("file " + Files.readString(Path.of("/app/config.yaml")));
        System.out.println("real " + Path.of("/app/to-file").toRealPath());
        ProcessBuilder child = new ProcessBuilder("/bin/cat", "/app/config.yaml");
        child.environment().clear();
        System.out.println("child " + new String(child.start().getInputStream().readAllBytes()));
        InetAddress host = InetAddress.getByName(arguments[0]);
        System.out.println("host " + host.getHostAddress());
        for (int i = 1; i < arguments.length; i++) {
            InetSocketAddress to = new InetSocketAddress(host, Integer.parseInt(arguments[i]));
            System.out.println("socket " + blocking(to));
            System.out.println("channel " + selected(to));
            System.out.println("http " + http(to));
        }
        try (ServerSocket server = new ServerSocket(8080)) {
            System.out.println("listening " + server.getLocalSocketAddress());
            try (Socket call = server.accept()) {
                System.out.println("peer " + call.getRemoteSocketAddress());
                call.getOutputStream().write("bye".getBytes());
            }
        }
    }

    static String blocking(InetSocketAddress to) {
        try (Socket socket = new Socket()) {
            socket.connect(to, 20_000);
            return "ok " + socket.getRemoteSocketAddress();
        } catch (IOException error) {
            return error.getMessage();
        }
    }

    static String selected(InetSocketAddress to) throws IOException {
        try (SocketChannel channel = SocketChannel.open(); Selector selector = Selector.open()) {
            channel.configureBlocking(false);
            channel.register(selector, SelectionKey.OP_CONNECT);
            if (!channel.connect(to)) {
                selector.select(20_000);
                channel.finishConnect();
            }
            channel.write(ByteBuffer.wrap("x".getBytes()));
            return "ok " + channel.getRemoteAddress();
        } catch (IOException error) {
            return error.getMessage();
        }
    }

    static String http(InetSocketAddress to) throws InterruptedException {
        URI uri = URI.create("http://" + to.getAddress().getHostAddress() + ":" + to.getPort() + "/");
        try {
            HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
            return client.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString()).body();
        } catch (IOException error) {
            return error.getClass().getSimpleName();
        }
    }
}
