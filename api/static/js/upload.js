// A model from this computer, dropped on the form or chosen: sent through the REST API, then the form's model.
import { NO_ANSWER, show } from "./errors.js";
import { request, send } from "./transfer.js";

const drop = document.getElementById("drop");
const [sending, status, alert] = [".sending", "[role=status]", "[role=alert]"].map((which) => drop.querySelector(which));
const bar = sending.querySelector("progress");
const kinds = drop.dataset.kinds.split(" ");
const archives = drop.dataset.archives.split(" ");
let current = null; // the upload on its way: { abort, id }

const ends = (path, suffixes) => suffixes.some((suffix) => path.endsWith(suffix));
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function progress(step, done, total) {
  bar.value = total ? done / total : 1;
  status.textContent = `${step}: ${mebibytes(done)} of ${mebibytes(total)}`;
}

// Of a folder what a model needs: weights of one kind, and the texts beside them. The service looks again.
function chosen(files) {
  const plain = files.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  if (plain.length === 1 && ends(plain[0].path.toLowerCase(), archives)) return plain;
  const known = plain.filter(({ path }) => ends(path, kinds) && /^((\d+_\w+|onnx)\/)?[^/]+$/.test(path));
  const safe = known.some(({ path }) => path.endsWith(".safetensors"));
  const needed = safe ? known.filter(({ path }) => !/\.(onnx|onnx_data|onnx\.data|pt2)$|^onnx\//.test(path)) : known;
  const pickles = needed.some(({ path }) => !ends(path, [".json", ".txt", ".model", ".vocab", ".jinja"])) ? [] : plain.filter(({ path }) => /^pytorch_model.*\.bin$/.test(path));
  return [...needed, ...pickles]; // pickles alone: the service says how to convert them, or takes them
}

async function take(name, given) {
  if (current || !given.length) return;
  alert.hidden = true;
  const files = chosen(given);
  if (!files.length) return show(alert, { message: "None of these files is a model's.", hint: "Drop the folder that holds config.json and the weights." });
  const abort = new AbortController();
  current = { abort, id: null };
  sending.hidden = false;
  try {
    const word = name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-._]+|^upl-|[-._]+$/g, "").slice(0, 50) || "model";
    const upload = await send(word, files, abort.signal, progress, (id) => (current.id = id));
    document.getElementById("model").value = upload.model;
    status.textContent = `${upload.model} is here: ${mebibytes(upload.size_bytes)}`;
  } catch (error) {
    status.textContent = "";
    if (abort.signal.aborted) await cancelled(current.id);
    else show(alert, error?.code ? error : { ...NO_ANSWER, hint: `${NO_ANSWER.hint} Drop the same files again: it goes on where it was.` });
  } finally {
    current = null;
    sending.hidden = true;
  }
}

async function cancelled(id) {
  status.textContent = "cancelled";
  if (id) await request("DELETE", `/${id}`).catch(() => {}); // else it expires
}

// Without the folder that holds all: people drop it, or what is in it.
function named(paths) {
  const tops = new Set(paths.map((path) => path.split("/")[0]));
  const wrapped = tops.size === 1 && paths.every((path) => path.includes("/"));
  const [top] = tops;
  return { name: wrapped ? top : top?.replace(/\.(zip|tar|tar\.gz|tgz|onnx|pt2)$/, ""), strip: wrapped ? top.length + 1 : 0 };
}

function takeAll(found) {
  const { name, strip } = named(found.map(({ path }) => path));
  take(found.length === 1 || strip ? name : "model", found.map(({ path, file }) => ({ path: path.slice(strip), file })));
}

async function walk(entry, depth = 0) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ path: entry.fullPath.slice(1), file }];
  }
  if (depth > 2) return []; // no model's file lies deeper
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found.flat();
    for (const inner of some) found.push(await walk(inner, depth + 1));
  }
}

for (const input of drop.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    takeAll([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
    input.value = "";
  });
}
drop.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-choose]");
  if (choice) document.getElementById(choice.dataset.choose).click();
  if (event.target.id === "drop-cancel") current?.abort.abort();
});
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.dataset.over = "";
});
drop.addEventListener("dragleave", () => delete drop.dataset.over);
drop.addEventListener("drop", async (event) => {
  event.preventDefault();
  delete drop.dataset.over;
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const given = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() })); // gone after an await
  const found = [];
  for (const { entry, file } of given) found.push(...(entry ? await walk(entry) : [{ path: file.name, file }]));
  takeAll(found);
});
window.addEventListener("beforeunload", (event) => {
  if (current) event.preventDefault();
});
