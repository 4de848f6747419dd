// Preload: kills its process before or after one of its requests to Chroma, as KILL_AT says: `before PUT /collections/ 2` is
// the second request with this method whose path has this part. Requests to others are let be.

const [when, method, part, passage] = (process.env.KILL_AT ?? '').split(' ');
const { fetch: original } = globalThis;
let passages = 0;

globalThis.fetch = async (input, init) => {
  const { url, method: asked } =
    input instanceof Request ? input : { url: String(input), method: init?.method ?? 'GET' };
  const isIt = asked === method && part !== undefined && new URL(url).pathname.includes(part);
  if (isIt) passages += 1;
  const isNow = isIt && passages === Number(passage);
  if (isNow && when === 'before') die();
  const answer = await original(input, init);
  if (isNow) die();
  return answer;
};

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is delivered before anything else runs; this only says so to the type checker.
  for (;;);
}
