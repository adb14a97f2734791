// Keeps a page true to the service: every event of the stream makes the live part fetch itself again (htmx throttles that).
// The stream is closed while the page is hidden: browsers allow few connections to one host.

const KINDS = ["state", "message", "round", "workloads", "benchmark", "artifact", "device", "deleted"];
const url = document.body.dataset.events;
const link = document.getElementById("link");
const RETRY_MS = 10000;
let source = null;
let position = document.body.dataset.position; // id of the newest event the page knows

function show(state) {
  if (link.dataset.state === state) return;
  link.dataset.state = state;
  link.textContent = { live: "live", connecting: "connecting", lost: "reconnecting" }[state];
}

function refresh(event) {
  position = event?.lastEventId || position;
  document.body.dispatchEvent(new CustomEvent("service-event"));
}

function open() {
  source = new EventSource(`${url}${url.includes("?") ? "&" : "?"}last_event_id=${position}`);
  let before = false;
  source.onopen = () => {
    show("live");
    if (before) refresh();
    before = true;
  };
  const opened = source;
  source.onerror = () => {
    show("lost");
    // Refused, as when too many listen; a connection that only broke is made again by the browser itself.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && !document.hidden && open(), RETRY_MS);
  };
  source.onmessage = refresh;
  for (const kind of KINDS) source.addEventListener(kind, refresh);
}

if (url) {
  open();
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (document.hidden) return;
    open();
    refresh();
  });
}
