-- For wrk: reports as JSON. Given hosts and paths as arguments (HOST PATH HOST PATH ...), asks for them in turn, on every
-- connection: with one connection per thread, each request is for another owner than the one before it on the same connection.

local requests, turn = {}, 0

local function next_request()
  turn = turn % #requests + 1
  return requests[turn]
end

function init(asked)
  for number = 1, #asked, 2 do
    wrk.headers["Host"] = asked[number]
    table.insert(requests, wrk.format("GET", asked[number + 1]))
  end
  if #asked > 0 then request = next_request end
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"responses": %d, "seconds": %.6f, "not_2xx": %d, "broken_connections": %d, "timeouts": %d, ' ..
      '"median_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write,
    errors.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
