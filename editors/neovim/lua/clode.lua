--- What users call from their own configuration.
local text = require("clode.text")
local state = require("clode.state")

local M = {}

--- One short line for a status line: state, step, cost; empty when nothing is going on.
---@return string
function M.statusline()
  local newest ---@type table?
  for _, summary in ipairs(state.list()) do
    if not text.ENDED[summary.status] and (not newest or text.is_more_urgent(summary, newest)) then
      newest = summary
    end
  end
  if not newest then
    return ""
  end
  return "clode: " .. text.state_line(newest)
end

--- Clients of the server, newest information first; for scripts.
---@return table[] PipelineSummary as the server sent it
function M.pipelines()
  return state.list()
end

return M
