--- What the server sends us beyond the LSP: drawn or asked, never decided here.
local state = require("clode.state")
local text = require("clode.text")

---@type table<string, lsp.Handler>
local M = {}

--- Runs a prompt and hands its answer back to the server, which may wait for it.
---@param start fun(resume: fun(value: any))
---@return any
local function await(start)
  local running = coroutine.running()
  start(function(value)
    -- Scheduled, so that a prompt that answers at once does not resume before the yield.
    vim.schedule(function()
      coroutine.resume(running, value)
    end)
  end)
  return coroutine.yield()
end

M["clode/didChangePipeline"] = function(_, summary, context)
  local before = state.put_pipeline(context.client_id, summary)
  local approval = text.present(summary.pendingApproval)
  local seen = before and text.present(before.pendingApproval)
  if approval and (not seen or seen.id ~= approval.id) then
    local line = text.approval_line(approval)
    text.tell(("%s waits: %s  (:Clode approve, :Clode reject)"):format(text.title(summary), line))
  end
  if not before or before.status ~= summary.status then
    require("clode.document").refresh(summary.pipelineId)
  end
end

M["clode/didChangeStatus"] = function(_, status, context)
  state.put_status(context.client_id, status)
end

M["clode/didChangeReview"] = function(_, review, context)
  state.put_review({
    client_id = context.client_id,
    uri = review.uri,
    pipeline_id = text.present(review.pipelineId),
    hunks = text.present(review.hunks) or {},
  })
  require("clode.review").draw_uri(review.uri)
end

M["clode/alert"] = function(_, alert)
  text.tell(text.present(alert.message) or vim.inspect(alert), vim.log.levels.WARN)
end

M["clode/input"] = function(_, params)
  local value = await(function(resume)
    vim.ui.input({ prompt = params.title .. ": ", default = text.present(params.value) }, resume)
  end)
  return { value = value or vim.NIL }
end

M["clode/showDiff"] = function(_, params)
  -- Answered at once: showing may need a document, and that is a request of its own.
  vim.schedule(function()
    require("clode.document").diff(params.left, params.right)
  end)
  return vim.NIL
end

return M
