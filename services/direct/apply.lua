-- Counts batches of notes, each once, and remembers of each batch, not of each note, whether it was counted.
-- All or nothing: Redis runs a script as one step, and what may fail (something that somebody else left under one of the
-- keys) is read before anything is written.
--
-- A batch has a number, counted up from 1 by the process that wrote it. So there is little to remember: of each process the
-- highest number, and the exceptions below it: "o", open, did not come (yet: its process died or gave up before), and
-- "b", burnt, did not come and never will; if it comes all the same, it counts nothing. All others were counted.
-- An exception is one string: the process, the first and the last number (10 hexadecimal digits each), and its letter.
-- What is forgotten, beyond the limits given, passes for counted: so nothing is ever counted twice.
--
-- KEYS: notes:latest, notes:count, notes:count:curso, :facultad, :carrera, :region, notes:batches (the highest number by
--       process), notes:batches:used (processes by when they were last heard of), notes:batches:except (the exceptions),
--       notes:batches:forgotten (the greatest process that was forgotten)
-- ARGV: how many processes and how many exceptions to keep, and one of
--       "count", how many latest notes and how many texts of a field to keep, and as MessagePack the process, the number,
--         the latest notes' JSON, how many notes there are, and for each field how many of each text.
--         Returns 1 if the batch is counted now, 0 if it is burnt or was counted before.
--       "look" or "burn", and as MessagePack a list of processes and numbers in turn.
--         Returns for each batch 1 if it was counted, and 0 if not; after "burn" it never will be.
local HIGHEST, USED, EXCEPT, FORGOTTEN = KEYS[7], KEYS[8], KEYS[9], KEYS[10]

local function except(process, from, to, letter)
  if from <= to then redis.call('ZADD', EXCEPT, 0, string.format('%s%010x%010x%s', process, from, to, letter)) end
end

-- What is known of a batch: its state ("new" is above the highest), the process's highest number, and the exception,
-- if there is one, with its first and last number.
local function look(process, number)
  local highest = tonumber(redis.call('HGET', HIGHEST, process))
  if not highest then
    return process <= (redis.call('GET', FORGOTTEN) or '') and 'forgotten' or 'new', 0
  elseif number > highest then
    return 'new', highest
  end
  local upto = string.format('[%s%010x~', process, number)
  local floor = redis.call('ZREVRANGEBYLEX', EXCEPT, upto, '[' .. process, 'LIMIT', 0, 1)[1]
  if floor then
    local first, last = tonumber(string.sub(floor, 17, 26), 16), tonumber(string.sub(floor, 27, 36), 16)
    if number <= last then return string.sub(floor, 37), highest, floor, first, last end
  end
  return 'counted', highest
end

local function forget()
  while redis.call('ZCARD', EXCEPT) > tonumber(ARGV[2]) do redis.call('ZPOPMIN', EXCEPT) end
  while redis.call('ZCARD', USED) > tonumber(ARGV[1]) do
    local process = redis.call('ZPOPMIN', USED)[1]
    redis.call('HDEL', HIGHEST, process)
    redis.call('ZREMRANGEBYLEX', EXCEPT, '[' .. process, '(' .. process .. '~')
    if process > (redis.call('GET', FORGOTTEN) or '') then redis.call('SET', FORGOTTEN, process) end
  end
end

-- Settles a batch that is new, open or forgotten: it is burnt, or else counted.
local function settle(process, number, burnt)
  local state, highest, exception, first, last = look(process, number)
  if exception then
    redis.call('ZREM', EXCEPT, exception)
    except(process, first, number - 1, 'o')
    except(process, number + 1, last, 'o')
  else
    if state == 'new' then except(process, highest + 1, number - 1, 'o') end
    redis.call('HSET', HIGHEST, process, string.format('%.0f', number))
  end
  if burnt then except(process, number, number, 'b') end
  redis.call('ZADD', USED, redis.call('TIME')[1], process)
  forget()
end

-- Ends the script before it has written, if somebody else's value is under a key of ours.
redis.call('HLEN', HIGHEST)
redis.call('ZCARD', USED)
redis.call('ZCARD', EXCEPT)
redis.call('GET', FORGOTTEN)

if ARGV[3] ~= 'count' then
  local batches, counted = cmsgpack.unpack(ARGV[4]), {}
  for at = 1, #batches, 2 do
    local state = look(batches[at], batches[at + 1])
    local is_counted = state == 'counted' or state == 'forgotten'
    if ARGV[3] == 'burn' and not is_counted and state ~= 'b' then settle(batches[at], batches[at + 1], true) end
    counted[#counted + 1] = is_counted and 1 or 0
  end
  return counted
end

local keep, room = tonumber(ARGV[4]), tonumber(ARGV[5])
local process, number, latest, notes, counts = unpack(cmsgpack.unpack(ARGV[6]))
local state = look(process, number)
if state == 'counted' or state == 'b' then return 0 end

local function whole(value, key)
  if value and not string.find(value, '^%d+$') then error('there is something else than a number in ' .. key) end
  return value
end

-- The counts of a field by the name they are kept under: a text that has none gets one while there is room.
local function named(key, texts)
  local list, by_name = {}, {}
  for text in pairs(texts) do list[#list + 1] = text end
  local fields = redis.call('HLEN', key)
  local known = redis.call('HMGET', key, 'other', unpack(list))
  whole(known[1], key)
  for at, text in ipairs(list) do
    local name = text
    if not whole(known[at + 1], key) then
      if fields < room then fields = fields + 1 else name = 'other' end
    end
    by_name[name] = (by_name[name] or 0) + texts[text]
  end
  return by_name
end

redis.call('LLEN', KEYS[1])
whole(redis.call('GET', KEYS[2]), KEYS[2])
local by_field = {}
for field = 1, 4 do by_field[field] = named(KEYS[2 + field], counts[field]) end

settle(process, number, false)
if notes == 0 then return 1 end
redis.call('INCRBY', KEYS[2], notes)
for field = 1, 4 do
  for name, count in pairs(by_field[field]) do redis.call('HINCRBY', KEYS[2 + field], name, count) end
end
redis.call('LPUSH', KEYS[1], unpack(latest))
redis.call('LTRIM', KEYS[1], 0, keep - 1)
return 1
