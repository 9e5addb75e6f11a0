--- Answering a gate. The answer always names the approval that was shown; the server decides what it means.
local server = require("clode.server")
local state = require("clode.state")
local text = require("clode.text")

local M = {}

---@class clode.Open
---@field summary table PipelineSummary
---@field approval table PendingApproval

--- Every approval that is open, oldest of each pipeline first.
---@return clode.Open[]
function M.open()
  local open = {}
  for _, summary in ipairs(state.list()) do
    for _, approval in ipairs(text.present(summary.pendingApprovals) or {}) do
      open[#open + 1] = { summary = summary, approval = approval }
    end
  end
  return open
end

---@param open clode.Open
---@return string
local function line(open)
  return ("%s: %s"):format(text.title(open.summary), text.approval_line(open.approval))
end

---@param id string? of an approval or a pipeline
---@return clode.Open[]
local function matching(id)
  return vim.tbl_filter(function(open)
    return not id or open.approval.id == id or open.summary.pipelineId == id
  end, M.open())
end

---@param id string? of an approval or a pipeline
---@param found clode.Open[]
---@param use fun(open: clode.Open)
local function choose(id, found, use)
  if #found == 0 then
    text.tell(id and ("nothing waits for an answer under " .. id) or "nothing waits for an answer", vim.log.levels.WARN)
  elseif #found == 1 then
    use(found[1])
  else
    vim.ui.select(found, { prompt = "Which approval?", format_item = line }, function(open)
      if open then
        use(open)
      end
    end)
  end
end

---@param id string? of an approval or a pipeline
---@param use fun(open: clode.Open)
local function pick(id, use)
  local client = server.need_client()
  local found = matching(id)
  if client and #found == 0 then
    state.refresh(client, function()
      choose(id, matching(id), use)
    end)
  elseif client then
    choose(id, found, use)
  end
end

---@param open clode.Open
---@param answer table the rest of the arguments of clode.pipeline.approve
local function send(open, answer)
  local pipeline = state.pipeline(open.summary.pipelineId)
  local client = pipeline and vim.lsp.get_client_by_id(pipeline.client_id) or server.need_client()
  if not client then
    return
  end
  local options = vim.tbl_extend("error", {
    pipelineId = open.summary.pipelineId,
    approvalId = open.approval.id,
  }, answer)
  server.request(client, "clode.pipeline.approve", options, function(summary)
    state.put_pipeline(client.id, summary)
    text.tell((answer.approved and "approved: " or "rejected: ") .. line(open))
  end)
end

--- The words of the server where it sent some, else ours.
---@param approval table PendingApproval
---@param id string
---@param fallback string
---@return string
local function choice_title(approval, id, fallback)
  for _, choice in ipairs(text.present(approval.choices) or {}) do
    if choice.id == id then
      return choice.title
    end
  end
  return fallback
end

---@param open clode.Open
local function ask_budget(open)
  local budget = text.present(open.approval.budget) or {}
  local choices = { { id = "maxCost", title = "Raise the limit of this run…" } }
  choices[2] = { id = "today", title = choice_title(open.approval, "today", "Raise today's limit") }
  local prompt = ("%s: limit %s, spent %s, needed %s"):format(
    open.approval.title or "Budget",
    text.money(budget.limit),
    text.money(budget.spent),
    text.money(budget.needed)
  )
  local function title(choice)
    return choice.title
  end
  vim.ui.select(choices, { prompt = prompt, format_item = title }, function(choice)
    if choice and choice.id == "today" then
      send(open, { approved = true, choice = "today" })
    elseif choice then
      vim.ui.input({ prompt = "New limit of this run in USD: " }, function(value)
        local limit = value and tonumber(value)
        if limit then
          send(open, { approved = true, maxCost = limit })
        elseif value and value ~= "" then
          text.fail(("%q is not an amount in USD, such as 7.50"):format(value))
        end
      end)
    end
  end)
end

---@param open clode.Open
local function ask_permission(open)
  local request = text.present(open.approval.request) or {}
  local what = text.present(request.command) or text.present(request.tool) or open.approval.title
  if type(what) == "table" then
    what = table.concat(what, " ")
  end
  local choices = {
    { id = "once", title = choice_title(open.approval, "once", "Allow once") },
    { id = "task", title = choice_title(open.approval, "task", "Allow for this task") },
  }
  local function title(choice)
    return choice.title
  end
  vim.ui.select(choices, { prompt = "Allow: " .. what, format_item = title }, function(choice)
    if choice then
      send(open, { approved = true, choice = choice.id })
    end
  end)
end

---@param open clode.Open
local function ask_question(open)
  vim.ui.input({ prompt = (open.approval.title or "Answer") .. ": " }, function(value)
    if value and value ~= "" then
      send(open, { approved = true, comment = value })
    end
  end)
end

local ASK = { budget = ask_budget, permission = ask_permission, question = ask_question }

---@param id string?
function M.approve(id)
  pick(id, function(open)
    local ask = ASK[open.approval.gate]
    if ask then
      ask(open)
    else
      send(open, { approved = true })
    end
  end)
end

---@param comment string? with one, plan and patch go another round
function M.reject(comment)
  pick(nil, function(open)
    send(open, { approved = false, comment = comment })
  end)
end

return M
