-- Posts prepared bodies repeatedly and prints one JSON line that benchmarks/wrk.py parses.
--
-- Arguments after `--`: the content type, whether a rejected client waits ("wait" or "hammer"),
-- then one file per body.
-- All requests are built before the first is sent, so that wrk only copies bytes.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  requests, next_request = {}, 0
  waits = args[2] == "wait"
  pauses_ms = {}
  counts = {}
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[1]
  for i = 3, #args do
    local file = assert(io.open(args[i], "rb"))
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read("*all"))
    file:close()
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

-- wrk does not say which connection it asks for, so each rejection delays any one request. In total
-- the clients wait as often and as long as if each had obeyed its own Retry-After.
function delay()
  return table.remove(pauses_ms) or 0
end

function response(status, headers)
  counts[status] = (counts[status] or 0) + 1
  if waits and status == 429 then
    local seconds = tonumber(headers["Retry-After"] or headers["retry-after"]) or 1
    table.insert(pauses_ms, seconds * 1000)
  end
end

function done(summary, latency)
  local totals = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("counts")) do
      totals[status] = (totals[status] or 0) + count
    end
  end
  local fields = {}
  for status, count in pairs(totals) do
    fields[#fields + 1] = string.format('"%d": %d', status, count)
  end
  local errors = summary.errors
  print(string.format(
    '\n{"duration_us": %d, "p50_us": %d, "p99_us": %d, "statuses": {%s}, "socket_errors": %d, "timeouts": %d}',
    summary.duration, latency:percentile(50), latency:percentile(99), table.concat(fields, ", "),
    errors.connect + errors.read + errors.write, errors.timeout))
end
