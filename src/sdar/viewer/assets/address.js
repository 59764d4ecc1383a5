// What is in the address after `#`: a page, what it shows, and after `?` how. Every view has one that stays right.

export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/").map(plain);
  return { page, rest, query: new URLSearchParams(query) };
}

// The address of a page; `query` is an object, of which empty values are left out.
export function link(page, rest = [], query = {}) {
  const given = Object.entries(query).flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((each) => [name, each]));
  const words = new URLSearchParams(given.filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false));
  const path = ["#", page, ...rest].join("/");
  return words.size ? `${path}?${words}` : path;
}

// Note how the page is shown now, without a step in the browser's history.
export function note(page, rest, query) {
  const hash = link(page, rest, query);
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

function plain(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}
