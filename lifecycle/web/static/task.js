// On Flower's page of a task: a link to its container, if it is one.
(async () => {
  const { id, containers } = document.currentScript.dataset;
  const path = encodeURIComponent(id);
  const api = containers.replace(/\/containers$/, "/api/containers");
  const answer = await fetch(`${api}/${path}`, { credentials: "same-origin" });
  if (!answer.ok) return;
  const link = document.createElement("a");
  link.id = "open-container";
  link.className = "btn btn-outline-secondary btn-sm";
  link.href = `${containers}/${path}`;
  link.textContent = "Open container";
  const terminate = document.getElementById("task-terminate") || document.getElementById("task-revoke");
  const heading = document.querySelector("main h1, main h2, .container-fluid h1, .container-fluid h2, h1, h2");
  if (terminate) terminate.before(link, " ");
  else if (heading) heading.append(" ", link);
})();
