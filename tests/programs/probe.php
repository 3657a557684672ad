<?php // Probe, PHP: prints what a program sees of the pod. The lines are described in tests/matrix.py.
function say(...$words) {
    fwrite(STDOUT, implode(" ", $words) . "\n");
}

function words($name) {
    $at = strrpos($name, ":");
    return substr($name, 0, $at) . " " . substr($name, $at + 1);
}

$file = getenv("PROBE_FILE");
say("env", getenv("GREETING"));
say("file", trim(file_get_contents($file)));
say("list", implode(",", array_diff(scandir(dirname($file)), [".", ".."])));
chdir(dirname($file));
say("cwd", getcwd(), filesize(basename($file)));
$child = proc_open(["cat", basename($file)], [1 => ["pipe", "w"]], $pipes, dirname($file));
say("child", trim(stream_get_contents($pipes[1])));
say("host", gethostname());
say("call", trim(file_get_contents(getenv("PROBE_URL"))));
$server = stream_socket_server("tcp://0.0.0.0:" . getenv("PROBE_PORT"));
say("listening", words(stream_socket_get_name($server, false)));
while (true) {
    $sock = stream_socket_accept($server, -1, $peer);
    $path = explode(" ", fread($sock, 8192))[1] ?? "";
    if ($path === "") {
        continue; // Somebody who only looks whether there is a listener.
    }
    say("request", $path, words($peer), words(stream_socket_get_name($sock, false)));
    fwrite($sock, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nprogram php");
    fclose($sock);
    if ($path === "/stop") {
        say("bye");
        exit(7);
    }
}
