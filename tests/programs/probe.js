// Probe, Node: prints what a program sees of the pod. The lines are described in tests/matrix.py.
const { execFileSync } = require("child_process");
const fs = require("fs");
const http = require("http");
const os = require("os");
const path = require("path");

const say = (...words) => fs.writeSync(1, words.join(" ") + "\n");

async function main() {
  say("env", process.env.GREETING || "");
  const file = process.env.PROBE_FILE;
  say("file", fs.readFileSync(file, "utf8").trim());
  say("list", (await fs.promises.readdir(path.dirname(file))).sort().join(","));
  process.chdir(path.dirname(file));
  say("cwd", process.cwd(), fs.statSync(path.basename(file)).size);
  say("child", execFileSync("cat", [path.basename(file)], { cwd: path.dirname(file), encoding: "utf8" }).trim());
  say("host", os.hostname());
  const answer = await fetch(process.env.PROBE_URL, { headers: { connection: "close" } });
  say("call", (await answer.text()).trim());
  const server = http.createServer((request, response) => {
    const s = request.socket;
    say("request", request.url, s.remoteAddress, s.remotePort, s.localAddress, s.localPort);
    response.end("program node", () => {
      if (request.url === "/stop") {
        say("bye");
        process.exit(7);
      }
    });
  });
  server.listen(Number(process.env.PROBE_PORT), "0.0.0.0", () => {
    const at = server.address();
    say("listening", at.address, at.port);
  });
}

main();
