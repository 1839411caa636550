// Who serves this site? A program of its own says.
fetch("/whoami.cgi").then((response) => response.json()).then(
  (facts) => {
    for (const place of document.querySelectorAll("[data-fact]")) place.textContent = facts[place.dataset.fact];
  },
  () => {
    for (const place of document.querySelectorAll("[data-fact]")) place.textContent = "no answer";
  },
);

// Ask for each file in the list, and say what the server answered. A refusal where one belongs is a success.
const WORDS = { 200: "served", 403: "refused", 404: "not found" };
for (const item of document.querySelectorAll("[data-path]")) {
  const answer = item.querySelector("output");
  fetch(item.dataset.path, { cache: "no-store" }).then(
    ({ status }) => {
      const right = String(status) === item.dataset.expected;
      answer.textContent = right ? `$${status} $${WORDS[status]}` : `$${status}: wrong`;
      answer.className = !right ? "broken" : status === 404 ? "" : "right";
    },
    () => { answer.textContent = "no answer"; answer.className = "broken"; },
  );
}
