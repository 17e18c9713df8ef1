// Checks of the running services from inside the machine; the install step's parameters come on
// standard input, the names of the checks as arguments. Prints an `ok` line for each thing that is as
// it should be; the first that is not ends it with status 1 and one line.

import { X509Certificate, createPrivateKey, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";

const GATEWAY = "127.0.0.1:18789";
const TIMEOUT_MS = 10_000;

const parameters = JSON.parse(readFileSync(0, "utf8"));
const checks = { gateway, refusal, api, site };

try {
  for (const name of process.argv.slice(2)) await checks[name]();
  process.exit(0);
} catch (error) {
  console.error(`check ${error.message}`);
  process.exit(1);
}

async function gateway() {
  const answer = await connect(parameters.gateway_token);
  expect(answer === "accepted", `gateway: does not accept the token: ${answer}`);
  ok("the gateway accepts the token");
}

async function refusal() {
  const answer = await connect(randomBytes(24).toString("hex"));
  expect(answer !== "accepted", "refusal: the gateway accepts a wrong token");
  expect(!answer.startsWith("no answer"), `refusal: the gateway does not refuse, it gives ${answer}`);
  ok("the gateway refuses a wrong token");
}

async function api() {
  const response = await request(http, "POST", "/v1/chat/completions", { port: 18789 });
  expect(response.status === 401, `api: without a token it answers ${response.status}, not 401`);
  ok("the API asks for the token");
}

async function site() {
  const certificate = new X509Certificate(parameters.origin_certificate);
  const page = await secure("/");
  expect(
    page.fingerprint === certificate.fingerprint256,
    "site: Caddy presents another certificate than the one it was given",
  );
  expect(
    certificate.checkPrivateKey(createPrivateKey(parameters.origin_key)),
    "site: the certificate and the key don't belong together",
  );
  expect(
    certificate.checkHost(parameters.hostname) !== undefined,
    `site: the certificate is not for ${parameters.hostname}`,
  );
  ok("the certificate is ours, for this name, and matches its key");
  expect(page.status === 200, `site: the landing page answers ${page.status}`);
  expect(page.body.includes(parameters.slug), "site: the landing page is not this customer's");
  ok("the landing page is there");
  await routes();
}

async function routes() {
  const ui = await secure("/gateway/");
  expect(ui.status === 200, `site: /gateway/ answers ${ui.status}`);
  const open = await secure("/v1/chat/completions", "POST");
  expect(open.status === 401, `site: /v1/ without a token answers ${open.status}, not 401`);
  const upgraded = await secure("/", "GET", {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
  });
  expect(upgraded.status === 101, `site: a WebSocket at / answers ${upgraded.status}, not 101`);
  ok("Caddy leads to the gateway: pages, API, WebSocket");
  const plain = await request(http, "GET", "/", { port: 80 });
  expect(
    plain.status === 308 && plain.location === `https://${parameters.hostname}/`,
    `site: port 80 answers ${plain.status} ${plain.location}, not a redirect to https`,
  );
  ok("port 80 leads to https");
}

// Says "accepted", or how the gateway refused.
function connect(token) {
  const socket = new WebSocket(`ws://${GATEWAY}`);
  const frame = {
    type: "req",
    id: "1",
    method: "connect",
    params: {
      minProtocol: 3,
      maxProtocol: 4,
      client: { id: "gateway-client", version: "1", platform: "linux", mode: "backend" },
      role: "operator",
      scopes: ["operator.read"],
      auth: { token },
    },
  };
  return new Promise((resolve) => {
    setTimeout(() => resolve(`no answer within ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
    socket.onerror = () => resolve("no answer: the connection failed");
    socket.onclose = (event) => resolve(`closed with ${event.code} ${event.reason}`);
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.event === "connect.challenge") socket.send(JSON.stringify(frame));
      if (message.id === "1") resolve(message.ok ? "accepted" : `refused: ${message.error?.message}`);
    };
  });
}

// As Cloudflare would ask: TLS with the customer's name, whatever the certificate's authority.
function secure(path, method = "GET", headers = {}) {
  const { hostname } = parameters;
  const options = { port: 443, servername: hostname, rejectUnauthorized: false };
  return request(https, method, path, { ...options, headers: { Host: hostname, ...headers } });
}

function request(client, method, path, options) {
  return new Promise((resolve, reject) => {
    const refuse = (why) => reject(new Error(`${method} ${path} on port ${options.port}: ${why}`));
    const asked = client.request({ host: "127.0.0.1", method, path, agent: false, ...options });
    asked.setTimeout(TIMEOUT_MS, () => asked.destroy(new Error("no answer")));
    asked.on("error", (error) => refuse(error.message));
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode });
    });
    asked.on("response", async (response) => {
      const fingerprint = response.socket.getPeerX509Certificate?.()?.fingerprint256;
      let body = "";
      try {
        for await (const chunk of response.setEncoding("utf8")) body += chunk;
      } catch (error) {
        refuse(error.message);
      }
      const { location } = response.headers;
      resolve({ status: response.statusCode, location, fingerprint, body });
    });
    asked.end();
  });
}

function expect(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

function ok(what) {
  console.log(`ok  ${what}`);
}
