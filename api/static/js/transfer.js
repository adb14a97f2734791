// Files to the service: read once for their SHA-256, sent in parts, on from where a try broke off; what it has is not sent.
import { sha256 } from "../vendor/js-sha256/sha256.min.js";

const PART = 8 * 2 ** 20; // bytes
const RETRY_MS = 1000;
const GIVE_UP_MS = 60_000; // a supervised service is back long before

export async function request(method, path, options, signal) {
  const response = await fetch(`/v1/uploads${path}`, { method, signal, ...options, headers: { Accept: "application/json", ...options?.headers } });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw answer.error;
  return answer;
}

async function digests(files, total, signal, tell) {
  let done = 0;
  const declared = [];
  for (const { path, file } of files) {
    const hash = sha256.create();
    for (let start = 0; start < file.size; start += PART) {
      signal.throwIfAborted();
      const block = await file.slice(start, start + PART).arrayBuffer();
      hash.update(block);
      tell("reading", (done += block.byteLength), total);
    }
    declared.push({ path, size_bytes: file.size, sha256: hash.hex() });
  }
  return declared;
}

async function sendRest(upload, files, total, signal, tell, succeeded) {
  const byPath = new Map(files.map(({ path, file }) => [path, file]));
  let done = upload.received_bytes;
  tell("sending", done, total);
  for (const { path, size_bytes, received_bytes } of upload.files) {
    for (let offset = received_bytes; offset < size_bytes; offset += PART) {
      const body = byPath.get(path).slice(offset, offset + PART);
      const headers = { "Upload-Offset": String(offset), "Content-Type": "application/octet-stream" };
      await request("PUT", `/${upload.id}/files/${path.split("/").map(encodeURIComponent).join("/")}`, { body, headers }, signal);
      succeeded();
      tell("sending", (done += body.size), total);
    }
  }
}

// Breaks and a service that restarts are waited for; whatever else it says is an end.
const passes = (error) => error instanceof TypeError || error instanceof SyntaxError || ["busy", "offset_mismatch"].includes(error?.code);

// The complete upload of files ({ path, file }); `tell` hears of each step how many bytes of how many are done, `begun` the id.
export async function send(name, files, signal, tell, begun) {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  const declared = await digests(files, total, signal, tell);
  const digest = sha256(declared.map((file) => `${file.path} ${file.sha256}`).sort().join("\n")).slice(0, 8);
  const wish = JSON.stringify({ name: `${name}-${digest}`, files: declared });
  const json = { "Content-Type": "application/json" };
  let upload = await request("POST", "", { body: wish, headers: json }, signal);
  let at = Date.now();
  if (upload.state !== "complete") begun(upload.id);
  while (upload.state !== "complete") {
    try {
      upload = await request("GET", `/${upload.id}`, {}, signal);
      await sendRest(upload, files, total, signal, tell, () => (at = Date.now()));
      tell("checking", total, total);
      upload = await request("POST", `/${upload.id}/complete`, {}, signal);
    } catch (error) {
      if (!passes(error) || Date.now() - at > GIVE_UP_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      signal.throwIfAborted();
    }
  }
  return upload;
}
