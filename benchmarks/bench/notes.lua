-- Posts valid, varied notes to /course, counts the answers that were 201, and prints the run's figures as one line of JSON.
-- After "--": "keys" sends a fresh Idempotency-Key with each request; "rate=N" lets each thread send N requests a second,
-- at random times, whether or not others were answered, as long as a connection is free.

local faculties = {"ingenieria", "medicina", "derecho", "arquitectura", "economia", "humanidades", "agronomia", "farmacia"}
local degrees = {"sistemas", "civil", "industrial", "mecanica", "quimica", "electrica", "ambiental", "administración"}
local regions = {"NORTE", "SUR", "ORIENTE", "OCCIDENTE", "CENTRAL", "METROPOLITANA", "PETEN", "NOROCCIDENTE"}
local pool_size = 1000
local ffi = require("ffi")

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

-- When the next request is due, which wrk asks for each connection that is free: in milliseconds from now.
local function arrivals(rate)
  ffi.cdef("typedef struct { long seconds, nanoseconds; } moment_t; int clock_gettime(int, moment_t *);")
  local moment, due = ffi.new("moment_t"), nil
  local function now()
    ffi.C.clock_gettime(1, moment)  -- CLOCK_MONOTONIC
    return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
  end
  return function()
    due = (due or now()) - math.log(1 - math.random()) / rate
    return math.max(0, math.floor((due - now()) * 1000 + 0.5))
  end
end

-- Requests are made beforehand, so that wrk spends its time on sending; with keys only the key is new each time.
function init(args)
  local keys, rate = false, nil
  for _, argument in ipairs(args) do
    keys = keys or argument == "keys"
    rate = rate or tonumber(argument:match("^rate=(.+)$"))
  end
  if rate then delay = arrivals(rate) end
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
