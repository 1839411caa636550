-- For wrk: reports as JSON. Given several hosts as arguments, asks them in turn, on every connection: with one connection
-- per thread, each request goes to another host than the one before it on the same connection.

local requests, turn = {}, 0

local function next_host()
  turn = turn % #requests + 1
  return requests[turn]
end

function init(hosts)
  for number, host in ipairs(hosts) do
    wrk.headers["Host"] = host
    requests[number] = wrk.format()
  end
  if #hosts > 0 then request = next_host end
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"responses": %d, "seconds": %.6f, "not_2xx": %d, "broken_connections": %d, "timeouts": %d, ' ..
      '"median_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write,
    errors.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
