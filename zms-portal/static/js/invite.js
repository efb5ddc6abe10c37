// An invitation's secret stands behind the # of its link, so that it is sent to no server on the way here and stands in no log.
// It goes into the form and out of the address bar and the history.
const field = document.getElementById("token");
const secret = location.hash.slice(1);
if (field && secret) {
  field.value = secret;
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("password")?.focus();
}
