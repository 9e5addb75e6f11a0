-- Drives Neovim from a test: one JSON request a line on stdin, one JSON answer a line on stdout, and an event
-- for everything that a person would have been shown or asked. It ends when stdin does.
rig = {}

local TICK_MS = 20

local channel
local expected = {} ---@type string[] parts of items that will be chosen

local function send(message)
  vim.fn.chansend(channel, vim.json.encode(message) .. "\n")
end

---@param kind string
---@param message table
local function tell(kind, message)
  message.event = kind
  send(message)
end

--- The next selection that offers something with this text in it takes it; any other is dismissed.
---@param part string
function rig.will_choose(part)
  expected[#expected + 1] = part
end

local function choice_among(titles)
  for place, part in ipairs(expected) do
    for index, title in ipairs(titles) do
      if title:find(part, 1, true) then
        table.remove(expected, place)
        return index
      end
    end
  end
end

vim.notify = function(message, level)
  tell("notice", { message = message, level = level })
end

vim.ui.select = function(items, options, chosen)
  local titles = vim.tbl_map(options.format_item or tostring, items)
  local index = choice_among(titles)
  tell("select", { kind = options.kind, prompt = options.prompt, items = titles, chosen = titles[index or 0] })
  chosen(items[index or 0], index)
end

vim.ui.input = function(options, entered)
  tell("input", { prompt = options.prompt, default = options.default })
  entered(nil)
end

vim.api.nvim_create_autocmd("LspProgress", {
  callback = function(event)
    tell("progress", { value = event.data.params.value })
  end,
})

--- Whether the current file is served.
function rig.attached()
  local client = vim.lsp.get_clients({ name = "clode", bufnr = 0 })[1]
  return client and client.initialized or false
end

--- Whether a code action with these words is offered at the cursor.
---@param part string
function rig.offers(part)
  local client = vim.lsp.get_clients({ name = "clode", bufnr = 0 })[1]
  local params = vim.lsp.util.make_range_params(0, client.offset_encoding)
  params.context = { diagnostics = {} }
  local answer = client:request_sync("textDocument/codeAction", params, 1000, 0)
  return vim.iter(answer and answer.result or {}):any(function(action)
    return action.title:find(part, 1, true) ~= nil
  end)
end

---@param keys string in Vim's notation
function rig.press(keys)
  vim.api.nvim_feedkeys(vim.keycode(keys), "tx", false)
end

---@param path string
---@return string
function rig.text(path)
  local bufnr = vim.fn.bufnr(path)
  return table.concat(vim.api.nvim_buf_get_lines(bufnr, 0, -1, false), "\n") .. "\n"
end

--- The newest pipeline, if that is how it stands.
---@param status string
---@param gate string empty: any
function rig.pipeline(status, gate)
  for _, summary in ipairs(require("clode").pipelines()) do
    local approval = summary.pendingApproval
    if summary.status == status and (gate == "" or (type(approval) == "table" and approval.gate == gate)) then
      return summary
    end
  end
end

--- The open hunks that the plugin has drawn into a file: the line from 0, the sign, and the text beside it.
---@param path string
function rig.marks(path)
  local namespace = vim.api.nvim_get_namespaces()["clode.review"]
  local marks = {}
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(vim.fn.bufnr(path), namespace, 0, -1, { details = true })) do
    local lines = vim.tbl_map(function(line)
      return table.concat(vim.tbl_map(function(piece)
        return piece[1]
      end, line))
    end, mark[4].virt_lines or {})
    if #lines > 0 then
      marks[#marks + 1] = { line = mark[2], sign = vim.trim(mark[4].sign_text or ""), text = table.concat(lines, "\n") }
    end
  end
  return marks
end

---@param source string
---@param arguments any[]?
---@return boolean went_well
---@return any value or what was wrong
local function evaluate(source, arguments)
  local chunk, problem = load(source, "=test")
  if not chunk then
    return false, problem
  end
  return xpcall(chunk, debug.traceback, unpack(arguments or {}))
end

---@param id integer
---@param went_well boolean
---@param value any
local function answer(id, went_well, value)
  if went_well then
    send({ id = id, value = value == nil and vim.NIL or value })
  else
    send({ id = id, error = tostring(value) })
  end
end

local function answer_when_true(request)
  local deadline = vim.uv.now() + request.limitMs
  local timer = assert(vim.uv.new_timer())
  local function look()
    if timer:is_closing() then
      return
    end
    local went_well, value = evaluate(request["until"], request.arguments)
    local is_late = vim.uv.now() > deadline
    if went_well and not value and not is_late then
      return
    end
    timer:close()
    if went_well and not value then
      local pipelines = vim.inspect(require("clode").pipelines())
      answer(request.id, false, ("not within %d ms; pipelines: %s"):format(request.limitMs, pipelines))
    else
      answer(request.id, went_well, value)
    end
  end
  timer:start(0, TICK_MS, vim.schedule_wrap(look))
end

local function handle(line)
  local request = vim.json.decode(line, { luanil = { object = true, array = true } })
  if request["until"] then
    answer_when_true(request)
  else
    answer(request.id, evaluate(request.run, request.arguments))
  end
end

local rest = ""
channel = vim.fn.stdioopen({
  on_stdin = function(_, pieces)
    if #pieces == 1 and pieces[1] == "" then
      vim.cmd.qall({ bang = true })
    end
    for index, piece in ipairs(pieces) do
      rest = rest .. piece
      if index < #pieces then
        local line = rest
        rest = ""
        handle(line)
      end
    end
  end,
})

vim.opt.runtimepath:append(vim.env.CLODE_TEST_PLUGIN)
vim.cmd.runtime("plugin/clode.lua")
vim.cmd("filetype on")
vim.lsp.config("clode", { cmd = vim.json.decode(vim.env.CLODE_TEST_COMMAND) })
vim.lsp.enable("clode")
