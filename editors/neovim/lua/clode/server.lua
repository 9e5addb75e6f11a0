--- The way to the server: finding the client, sending a command, showing its error.
local text = require("clode.text")

local M = {}

local NAME = "clode"
local METHOD = "workspace/executeCommand"
--- How long a buffer may wait for its text; the server answers in milliseconds.
local READ_TIMEOUT_MS = 5000

--- The client of a buffer, else the only one there is.
---@param bufnr integer?
---@return vim.lsp.Client?
function M.client(bufnr)
  local attached = vim.lsp.get_clients({ name = NAME, bufnr = bufnr or 0 })
  return attached[1] or vim.lsp.get_clients({ name = NAME })[1]
end

--- The client, or a message that says what to do.
---@param bufnr integer?
---@return vim.lsp.Client?
function M.need_client(bufnr)
  local client = M.client(bufnr)
  if not client then
    text.fail('clode-ls is not running here. Call vim.lsp.enable("clode") and open a file; see :checkhealth clode')
  end
  return client
end

---@param command string
---@param options table?
---@return table
local function call(command, options)
  return { command = command, arguments = { options or vim.empty_dict() } }
end

---@param err lsp.ResponseError
---@return string
local function explain(err)
  local message = text.present(err.message) or ("error " .. tostring(err.code))
  local data = text.present(err.data)
  local hint = type(data) == "table" and text.present(data.hint)
  return hint and (message .. " (" .. hint .. ")") or message
end

--- Sends one server command. `done` is called with the answer; an error is shown.
---@param client vim.lsp.Client
---@param command string
---@param options table?
---@param done fun(result: any)?
function M.request(client, command, options, done)
  local sent = client:request(METHOD, call(command, options), function(err, result)
    if err then
      text.fail(explain(err))
    elseif done then
      done(result)
    end
  end)
  if not sent then
    text.fail("clode-ls has stopped. :LspLog tells why; :edit starts it again")
  end
end

--- The same, waiting for the answer. Only for reading a document.
---@param client vim.lsp.Client
---@param command string
---@param options table?
---@return any? result
---@return string? problem
function M.request_sync(client, command, options)
  local answer, problem = client:request_sync(METHOD, call(command, options), READ_TIMEOUT_MS)
  if not answer then
    return nil, problem or "no answer"
  end
  if answer.err then
    return nil, explain(answer.err)
  end
  return answer.result
end

--- The repository of a file. A file outside of any, such as a plan that is edited, goes to the server that
--- has the pipeline of this name, else to the one that runs: a second one would know nothing of it.
---@param bufnr integer
---@return string?
function M.root(bufnr)
  local found = vim.fs.root(bufnr, vim.lsp.config[NAME].root_markers)
  if found then
    return found
  end
  local name = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(bufnr), ":t:r")
  local known = require("clode.state").pipeline(name)
  local client = known and vim.lsp.get_client_by_id(known.client_id) or M.client(bufnr)
  return client and client.root_dir
end

--- Attaches a file that has no file type, as `vim.lsp.enable` does for the others.
---@param bufnr integer
function M.attach_untyped(bufnr)
  if not vim.api.nvim_buf_is_loaded(bufnr) or not vim.lsp.is_enabled(NAME) then
    return
  end
  local buffer = vim.bo[bufnr]
  if buffer.filetype ~= "" or buffer.buftype ~= "" or vim.api.nvim_buf_get_name(bufnr) == "" then
    return
  end
  local config = vim.deepcopy(vim.lsp.config[NAME])
  config.root_dir = M.root(bufnr)
  vim.lsp.start(config, { bufnr = bufnr })
end

return M
