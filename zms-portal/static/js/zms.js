// What pages cannot do by links and forms alone. Everything works without it, only less comfortably.
import { showTimes } from "./times.js";
import { startLive } from "./live.js";
import { guardForms } from "./forms.js";
import { listenToKeys } from "./keys.js";

showTimes(document);
setInterval(() => showTimes(document), 15_000);
startLive(document);
guardForms();
listenToKeys();
if (matchMedia("(max-width: 60rem)").matches) document.querySelector(".rail-menu")?.removeAttribute("open");
