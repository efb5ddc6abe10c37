// The theme before the first paint: without a choice of one's own it is the system's, now and when that changes.
"use strict";
{
  const root = document.documentElement;
  if (!root.hasAttribute("data-bs-theme")) {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
    follow();
    dark.addEventListener("change", follow);
  }
}
