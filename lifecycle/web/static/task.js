// On Flower's page of a task: a link to its container, if it is one.
(async () => {
  const { id, containers } = document.currentScript.dataset;
  const path = encodeURIComponent(id);
  const api = containers.replace(/\/containers$/, "/api/containers");
  const answer = await fetch(`${api}/${path}`, { credentials: "same-origin" });
  if (!answer.ok) return;
  const link = document.createElement("a");
  link.id = "open-container";
  link.className = "btn btn-outline-secondary";
  link.href = `${containers}/${path}`;
  link.textContent = "Open container";
  const actions = document.querySelector(".detail-actions"); // since Flower 2.1; before, beside the heading
  if (actions) actions.prepend(link);
  else document.querySelector("h1, h2, h3")?.append(" ", link);
})();
