// Ask for each file in the list, and say what the server answered.
for (const item of document.querySelectorAll("[data-path]")) {
  const answer = item.querySelector("output");
  fetch(item.dataset.path, { cache: "no-store" }).then(
    ({ status }) => {
      const right = String(status) === item.dataset.expected;
      const words = { 200: "served", 403: "refused", 404: "not found" };
      answer.textContent = status + " " + (words[status] ?? "");
      answer.className = !right ? "broken" : status === 200 ? "served" : status === 403 ? "refused" : "";
    },
    () => { answer.textContent = "no answer"; answer.className = "broken"; },
  );
}
