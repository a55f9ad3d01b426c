-- Posts valid, varied notes to /course, counts the answers that were 201, and prints the run's figures as one line of JSON.
-- The argument "keys" after "--" sends a fresh Idempotency-Key with each request.

local faculties = {"ingenieria", "medicina", "derecho", "arquitectura", "economia", "humanidades", "agronomia", "farmacia"}
local degrees = {"sistemas", "civil", "industrial", "mecanica", "quimica", "electrica", "ambiental", "administración"}
local regions = {"NORTE", "SUR", "ORIENTE", "OCCIDENTE", "CENTRAL", "METROPOLITANA", "PETEN", "NOROCCIDENTE"}
local pool_size = 1000

local threads = {}

-- The addresses in ADDRESSES, by turns one for each thread.
local addresses = {}
for host, port in (os.getenv("ADDRESSES") or ""):gmatch("(%S+):(%d+)") do
  table.insert(addresses, wrk.lookup(host, port)[1])
end

function setup(thread)
  thread:set("thread_number", #threads)
  if #addresses > 0 then thread.addr = addresses[#threads % #addresses + 1] end
  table.insert(threads, thread)
end

-- Requests are made beforehand, so that wrk spends its time on sending; with keys only the key is new each time.
function init(args)
  local keys = args[1] == "keys"
  local pool = {}
  math.randomseed(thread_number + 1)
  for i = 1, pool_size do
    local body = string.format('{"curso": "SO%d", "facultad": "%s", "carrera": "%s", "region": "%s"}',
      math.random(200), faculties[math.random(#faculties)], degrees[math.random(#degrees)], regions[math.random(#regions)])
    local headers = {["Content-Type"] = "application/json"}
    if keys then headers["Idempotency-Key"] = "@@" end
    pool[i] = wrk.format("POST", "/course", headers, body)
  end

  created, other, sent = 0, 0, 0
  if not keys then
    function request()
      sent = sent + 1
      return pool[sent % pool_size + 1]
    end
    return
  end
  local run = string.format("%d-%d-", os.time(), thread_number)
  local before, after = {}, {}
  for i = 1, pool_size do
    before[i], after[i] = pool[i]:match("^(.*)@@(.*)$")
  end
  function request()
    sent = sent + 1
    local i = sent % pool_size + 1
    return before[i] .. run .. sent .. after[i]
  end
end

function response(status)
  if status == 201 then created = created + 1 else other = other + 1 end
end

function done(summary, latency)
  local all_created, all_other = 0, 0
  for _, thread in ipairs(threads) do
    all_created = all_created + thread:get("created")
    all_other = all_other + thread:get("other")
  end
  local errors = summary.errors
  print(string.format(
    '{"created": %d, "other": %d, "socket_errors": %d, "timeouts": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}',
    all_created, all_other, errors.connect + errors.read + errors.write, errors.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
