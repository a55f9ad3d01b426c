-- Counts a batch of notes, each once: a note whose id was applied within the last day is passed over.
-- All or nothing, since Redis runs a script as one step.
--
-- KEYS: notes:latest, notes:count, notes:count:curso, :facultad, :carrera, :region, and the prefix notes:applied:
-- ARGV: how many latest notes to keep; the ids, 12 bytes each, in one string; and as MessagePack two lists of the
--       same order: the notes' JSON, and the four texts of each note. (Three arguments, as each costs the client dearly.)
-- Returns how many notes were counted.
--
-- Applied ids are kept in one set a day: today's and yesterday's are looked at, and a set expires after two days,
-- so an id is remembered for at least one day and memory stays bounded.
local DAY = 86400
local today = math.floor(redis.call('TIME')[1] / DAY)
local applied, yesterday = KEYS[7] .. today, KEYS[7] .. (today - 1)

local ids = {}
for at = 1, #ARGV[2], 12 do ids[#ids + 1] = string.sub(ARGV[2], at, at + 11) end
local notes, texts = unpack(cmsgpack.unpack(ARGV[3]))
local known = redis.call('SMISMEMBER', applied, unpack(ids))
local known_before = redis.call('SMISMEMBER', yesterday, unpack(ids))

local fresh, latest, counts, seen = {}, {}, {{}, {}, {}, {}}, {}
for at, id in ipairs(ids) do
  if known[at] == 0 and known_before[at] == 0 and not seen[id] then
    seen[id] = true
    fresh[#fresh + 1] = id
    latest[#latest + 1] = notes[at]
    for field = 1, 4 do
      local text, count = texts[at][field], counts[field]
      count[text] = (count[text] or 0) + 1
    end
  end
end
if #fresh == 0 then return 0 end

redis.call('SADD', applied, unpack(fresh))
redis.call('EXPIRE', applied, 2 * DAY)
redis.call('INCRBY', KEYS[2], #fresh)
for field = 1, 4 do
  for text, count in pairs(counts[field]) do
    redis.call('HINCRBY', KEYS[2 + field], text, count)
  end
end
local keep = tonumber(ARGV[1])
redis.call('LPUSH', KEYS[1], unpack(latest, math.max(1, #latest - keep + 1)))
redis.call('LTRIM', KEYS[1], 0, keep - 1)
return #fresh
