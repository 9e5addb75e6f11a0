--- Words shown to people. Pure: values from the server in, text out.
local M = {}

--- States in which a pipeline does nothing more.
M.ENDED = { completed = true, failed = true, cancelled = true }

local URGENCY = { awaitingApproval = 4, paused = 3, running = 2, queued = 1 }

local STATES = { awaitingApproval = "waiting for approval" }

--- JSON null arrives as nil or as vim.NIL, depending on the version of Neovim.
---@generic T
---@param value T
---@return T?
function M.present(value)
  if value == nil or value == vim.NIL then
    return nil
  end
  return value
end

---@param amount number? USD
---@return string
function M.money(amount)
  amount = M.present(amount) or 0
  return string.format(amount < 1 and "$%.4f" or "$%.2f", amount)
end

---@param summary table PipelineSummary
---@return string for example `running · developer · $0.0421 / $5.00`
function M.state_line(summary)
  local parts = { STATES[summary.status] or summary.status }
  local step = M.present(summary.step)
  if step then
    parts[#parts + 1] = type(step) == "table" and (step.id or "") or tostring(step)
  end
  local metrics = M.present(summary.metrics) or {}
  local cost = M.money(metrics.totalCost)
  local limit = M.present(summary.maxCost)
  if limit then
    cost = cost .. " / " .. M.money(limit)
  end
  parts[#parts + 1] = cost
  return table.concat(parts, " · ")
end

---@param summary table PipelineSummary
---@return string title
function M.title(summary)
  local task = M.present(summary.task) or {}
  return task.title or summary.pipelineId
end

--- Whether the first of two summaries is what a person should see when there is room for one.
---@param first table PipelineSummary
---@param second table PipelineSummary
---@return boolean
function M.is_more_urgent(first, second)
  local a, b = URGENCY[first.status] or 0, URGENCY[second.status] or 0
  if a ~= b then
    return a > b
  end
  return tostring(first.updatedAt or "") > tostring(second.updatedAt or "")
end

---@param approval table PendingApproval
---@return string
function M.approval_line(approval)
  local line = ("[%s] %s"):format(approval.gate, approval.title or approval.id)
  local estimate = M.present(approval.estimate)
  if estimate then
    line = line .. (" (%s to %s)"):format(M.money(estimate.minUSD), M.money(estimate.maxUSD))
  end
  return line
end

---@param message string
---@param level integer?
function M.tell(message, level)
  vim.notify("clode: " .. message, level or vim.log.levels.INFO)
end

---@param message string
function M.fail(message)
  M.tell(message, vim.log.levels.ERROR)
end

return M
