// What the service refuses, in its own words, or that it does not answer.

export const NO_ANSWER = { message: "The service did not answer.", hint: "Check that `tunesmith serve` is running." };

// A hint marks its commands with backticks; they become <code>, everything else stays text.
function sentence(text) {
  const line = document.createElement("p");
  text.split("`").forEach((part, index) => {
    const piece = index % 2 ? document.createElement("code") : document.createElement("span");
    piece.textContent = part;
    line.append(piece);
  });
  return line;
}

export function show(box, error) {
  box.replaceChildren(sentence(error.message), ...(error.hint ? [sentence(error.hint)] : []));
  box.hidden = false;
}
