// What k6 does as a user of courseload does: a note after the other, each with a key of its own, and a look at the answer.
import http from "k6/http";
import { check } from "k6";
import exec from "k6/execution";

const pool = JSON.parse(open(__ENV.POOL)).map((note) => JSON.stringify(note));
const run = `k6-${Date.now()}`;

export const options = { summaryMode: "disabled" };

export default function () {
  const sequence = exec.scenario.iterationInTest;
  const answer = http.post(__ENV.TARGET, pool[sequence % pool.length], {
    headers: { "Content-Type": "application/json", "Idempotency-Key": `${run}-${sequence}` },
  });
  check(answer, { created: (answer) => answer.status === 201 });
}
