// <time datetime="…Z"> in the reader's zone and language: "3 minutes ago" within the hour, then the clock, then the day. The title
// tells all of it.
const language = document.documentElement.lang;
const all = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const far = new Intl.DateTimeFormat(language, { year: "numeric", month: "short", day: "numeric" });
const ago = new Intl.RelativeTimeFormat(language, { numeric: "always", style: "short" });

function words(date, now) {
  const seconds = Math.round((date - now) / 1000);
  if (Math.abs(seconds) < 60) return ago.format(seconds, "second");
  if (Math.abs(seconds) < 3600) return ago.format(Math.trunc(seconds / 60), "minute");
  if (date.toDateString() === now.toDateString()) return clock.format(date);
  return date.getFullYear() === now.getFullYear() ? day.format(date) : far.format(date);
}

export function showTimes(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const text = words(date, now);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = all.format(date);
  }
}
