--- `:Clode`: one table of subcommands, each of which forwards to the server.
local approval = require("clode.approval")
local document = require("clode.document")
local review = require("clode.review")
local server = require("clode.server")
local state = require("clode.state")
local text = require("clode.text")

local M = {}

---@param summary table
---@return string
local function line(summary)
  return text.title(summary) .. "  " .. text.state_line(summary)
end

--- Chooses a pipeline for which `fits` holds, asking only when there are several.
---@param id string? the pipeline, when it was named
---@param fits fun(summary: table): boolean
---@param use fun(summary: table, client: vim.lsp.Client)
local function with_pipeline(id, fits, use)
  local client = server.need_client()
  if not client then
    return
  end
  local function matching()
    return vim.tbl_filter(function(summary)
      return fits(summary) and (not id or summary.pipelineId == id)
    end, state.list())
  end
  local function go(summary)
    local known = summary and state.pipeline(summary.pipelineId)
    if known then
      use(summary, vim.lsp.get_client_by_id(known.client_id) or client)
    end
  end
  local function choose(found)
    if #found == 0 then
      text.tell("no pipeline for that", vim.log.levels.WARN)
    elseif #found == 1 then
      go(found[1])
    else
      vim.ui.select(found, { prompt = "Which pipeline?", format_item = line }, go)
    end
  end
  local found = matching()
  if #found > 0 then
    choose(found)
  else
    state.refresh(client, function()
      choose(matching())
    end)
  end
end

---@return boolean
local function any()
  return true
end

---@param summary table
---@return boolean
local function is_alive(summary)
  return not text.ENDED[summary.status]
end

---@param summary table
---@return boolean
local function has_ended(summary)
  return not is_alive(summary)
end

---@param status string
---@return fun(summary: table): boolean
local function is(status)
  return function(summary)
    return summary.status == status
  end
end

--- A subcommand that sends `{pipelineId}` and shows the state that comes back.
---@param command string
---@param fits fun(summary: table): boolean
local function forward(command, fits)
  return function(_, id)
    with_pipeline(id, fits, function(summary, client)
      server.request(client, command, { pipelineId = summary.pipelineId }, function(answer)
        if type(answer) == "table" and answer.pipelineId then
          state.put_pipeline(client.id, answer)
          text.tell(line(answer))
        end
      end)
    end)
  end
end

---@param call table of nvim_create_user_command
---@param title string
local function run(call, title)
  local client = server.need_client()
  if not client then
    return
  end
  local options = { task = { title = title } }
  if client.attached_buffers[vim.api.nvim_get_current_buf()] then
    options.context = require("clode.context").of(client, call)
  end
  server.request(client, "clode.run", options, function(started)
    text.tell((started.reused and "goes on: " or "started: ") .. started.pipelineId)
  end)
end

local function show_status()
  local client = server.need_client()
  if not client then
    return
  end
  server.request(client, "clode.status", nil, function(status)
    state.put_status(client.id, status)
    local lines = { ("clode-ls %s, sandbox %s"):format(status.version or "?", tostring(status.sandbox)) }
    local daily = text.present(vim.tbl_get(status, "budget", "daily"))
    if daily then
      local limit = text.present(daily.limit)
      lines[#lines + 1] = ("today %s of %s"):format(text.money(daily.spent), limit and text.money(limit) or "no limit")
    end
    for _, summary in ipairs(text.present(status.pipelines) or {}) do
      lines[#lines + 1] = line(summary)
    end
    vim.api.nvim_echo({ { table.concat(lines, "\n") } }, true, {})
  end)
end

---@type table<string, fun(call: table, rest: string?)>
local SUBCOMMANDS = {
  run = function(call, rest)
    if rest then
      run(call, rest)
      return
    end
    vim.ui.input({ prompt = "What should the agents do? " }, function(title)
      if title and title ~= "" then
        run(call, title)
      end
    end)
  end,
  status = show_status,
  approve = function(_, rest)
    approval.approve(rest)
  end,
  reject = function(_, rest)
    approval.reject(rest)
  end,
  cancel = forward("clode.pipeline.cancel", is_alive),
  pause = forward("clode.pipeline.pause", is("running")),
  resume = forward("clode.pipeline.resume", is("paused")),
  edit = forward("clode.pipeline.editPlan", is("awaitingApproval")),
  plan = function(_, id)
    with_pipeline(id, any, function(summary)
      document.open(("clode://pipeline/%s/plan.md"):format(summary.pipelineId))
    end)
  end,
  diff = forward("clode.pipeline.showDiff", any),
  revert = function(_, id)
    with_pipeline(id, has_ended, function(summary, client)
      server.request(client, "clode.pipeline.revert", { pipelineId = summary.pipelineId }, function(answer)
        review.report(answer, "took back " .. text.title(summary))
      end)
    end)
  end,
  next = function()
    review.go(1)
  end,
  prev = function()
    review.go(-1)
  end,
  accept = review.accept,
  discard = review.discard,
  ["accept!"] = function(_, id)
    with_pipeline(id, is("awaitingApproval"), function(summary, client)
      server.request(client, "clode.pipeline.apply", { pipelineId = summary.pipelineId }, function(answer)
        review.report(answer, "accepted all of " .. text.title(summary))
      end)
    end)
  end,
}

---@param call table of nvim_create_user_command
function M.run(call)
  local name, rest = call.args:match("^(%S+)%s*(.-)%s*$")
  local subcommand = SUBCOMMANDS[name or "status"]
  if not subcommand then
    text.fail(("there is no :Clode %s; one of: %s"):format(name, table.concat(M.names(), ", ")))
    return
  end
  subcommand(call, rest ~= "" and rest or nil)
end

---@return string[]
function M.names()
  local names = vim.tbl_keys(SUBCOMMANDS)
  table.sort(names)
  return names
end

--- Subcommands that take the id of a pipeline.
local TAKES_PIPELINE = { "cancel", "pause", "resume", "edit", "plan", "diff", "revert", "accept!" }

---@param lead string what is typed of the word
---@param typed string the whole command line
---@return string[]
function M.complete(lead, typed)
  local before = typed:match("Clode%s+(.*)$") or ""
  local candidates = {} ---@type string[]
  if not before:find("%s") then
    candidates = M.names()
  elseif vim.startswith(before, "approve ") then
    for _, open in ipairs(approval.open()) do
      candidates[#candidates + 1] = open.approval.id
    end
  elseif vim.list_contains(TAKES_PIPELINE, before:match("^%S+")) then
    for _, summary in ipairs(state.list()) do
      candidates[#candidates + 1] = summary.pipelineId
    end
  end
  return vim.tbl_filter(function(candidate)
    return vim.startswith(candidate, lead)
  end, candidates)
end

return M
