// Connects to HOST (argument 1) at each PORT of the rest, by http and by fetch, reads /app, and serves one call on 8080.
const fs = require("fs");
const http = require("http");

const get = (url) =>
  new Promise((done) => {
    http
      .get(url, { agent: false }, (reply) => {
        let text = "";
        reply.on("data", (part) => (text += part));
        reply.on("end", () => done(`${text} ${reply.socket.remoteAddress} ${reply.socket.localAddress}`));
      })
      .on("error", (error) => done(`${error.code} ${error.address}:${error.port}`));
  });

async function main() {
  const [host, ...ports] = process.argv.slice(2);
  console.log("file", fs.readFileSync("/app/config.yaml", "utf8"));
  console.log("promise", await fs.promises.readFile("/app/config.yaml", "utf8"));
  console.log("list", fs.readdirSync("/app").join());
  console.log("real", fs.realpathSync("/app/to-file"), fs.realpathSync.native("/app/to-file"));
  console.log("stat", fs.statSync("/app/config.yaml").size, fs.existsSync("/app/none"));
  for (const port of ports) {
    console.log("http", await get(`http://${host}:${port}/`));
    const reply = await fetch(`http://${host}:${port}/`).then((found) => found.text(), (error) => error.cause.code);
    console.log("fetch", reply);
  }
  const server = http.createServer((request, reply) => {
    const { remoteAddress, remotePort, localAddress, localPort } = request.socket;
    console.log("peer", remoteAddress, remotePort, localAddress, localPort);
    reply.end("bye");
    server.close();
    request.socket.end();
  });
  server.listen(8080, () => console.log("listening", server.address().address, server.address().port));
}

main();
