# Probe, Ruby: prints what a program sees of the pod. The lines are described in tests/matrix.py.
require "net/http"
require "socket"

$stdout.sync = true
file = ENV["PROBE_FILE"]
puts "env #{ENV["GREETING"]}"
puts "file #{File.read(file).strip}"
puts "list #{Dir.children(File.dirname(file)).sort.join(",")}"
Dir.chdir(File.dirname(file))
puts "cwd #{Dir.pwd} #{File.size(File.basename(file))}"
puts "child #{IO.popen(["cat", File.basename(file)], chdir: File.dirname(file), &:read).strip}"
puts "host #{Socket.gethostname}"
puts "call #{Net::HTTP.get(URI(ENV["PROBE_URL"])).strip}"
server = TCPServer.new("0.0.0.0", ENV["PROBE_PORT"].to_i)
puts "listening #{server.local_address.ip_unpack.join(" ")}"
loop do
  sock = server.accept
  # Somebody may only look whether there is a listener.
  path = (sock.recv(8192) || "").split[1]
  (sock.close; next) unless path
  puts "request #{path} #{sock.remote_address.ip_unpack.join(" ")} #{sock.local_address.ip_unpack.join(" ")}"
  sock.write("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nprogram ruby")
  sock.close
  next unless path == "/stop"
  puts "bye"
  exit!(7)
end
