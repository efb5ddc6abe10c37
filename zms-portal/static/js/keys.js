// `/` goes to the filter, `?` tells the keys, Escape closes menus, and so does a click elsewhere.

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing) {
      const search = document.querySelector("main input[type=search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (event.key === "?" && !typing) {
      const help = document.getElementById("keys");
      if (help && !help.open) { event.preventDefault(); help.showModal(); }
    } else if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.switch[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.switch[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}
