--- `clode://` documents: plans, patches, costs, and both sides of a diff.
local server = require("clode.server")
local state = require("clode.state")
local text = require("clode.text")

local M = {}

--- Puts text into a buffer that people may read only.
---@param bufnr integer
---@param content string
local function fill(bufnr, content)
  local lines = vim.split(content, "\n", { plain = true })
  if lines[#lines] == "" then
    lines[#lines] = nil
  end
  vim.bo[bufnr].modifiable = true
  vim.bo[bufnr].readonly = false
  vim.api.nvim_buf_set_lines(bufnr, 0, -1, false, lines)
  vim.bo[bufnr].modified = false
  vim.bo[bufnr].modifiable = false
  vim.bo[bufnr].readonly = true
end

--- The client that told us of the pipeline of a document, else the nearest one.
---@param uri string
---@return vim.lsp.Client?
local function client_of(uri)
  local pipeline = state.pipeline(uri:match("^clode://pipeline/([^/]+)/") or "")
  local owner = pipeline and vim.lsp.get_client_by_id(pipeline.client_id)
  return owner or server.client(vim.fn.bufnr("#")) or server.client()
end

--- Reads a document into its buffer: the body of `BufReadCmd`.
---@param bufnr integer
---@param uri string
function M.read(bufnr, uri)
  local buffer = vim.bo[bufnr]
  buffer.buftype = "nofile"
  buffer.swapfile = false
  buffer.undolevels = -1
  local client = client_of(uri)
  if not client then
    fill(bufnr, 'clode-ls is not running. Open a file of the repository, then ":edit" here.')
    return
  end
  local document, problem = server.request_sync(client, "clode.document", { uri = uri })
  if not document then
    fill(bufnr, problem or "no answer")
    text.fail(("cannot read %s: %s"):format(uri, problem))
    return
  end
  fill(bufnr, document.text or "")
  if buffer.filetype == "" then
    buffer.filetype = text.present(document.languageId) or ""
  end
  -- Code actions and lenses answer for these documents too.
  vim.lsp.buf_attach_client(bufnr, client.id)
end

--- Reads the visible documents of a pipeline again.
---@param pipeline_id string
function M.refresh(pipeline_id)
  local prefix = ("clode://pipeline/%s/"):format(pipeline_id)
  for _, window in ipairs(vim.api.nvim_list_wins()) do
    local bufnr = vim.api.nvim_win_get_buf(window)
    local name = vim.api.nvim_buf_get_name(bufnr)
    local client = vim.startswith(name, prefix) and server.client(bufnr)
    if client then
      server.request(client, "clode.document", { uri = name }, function(document)
        if vim.api.nvim_buf_is_loaded(bufnr) then
          fill(bufnr, document.text or "")
          vim.cmd.diffupdate()
        end
      end)
    end
  end
end

--- Opens a document in the current window.
---@param uri string
function M.open(uri)
  vim.cmd.normal({ "m'", bang = true })
  local bufnr = vim.uri_to_bufnr(uri)
  vim.bo[bufnr].buflisted = true
  vim.api.nvim_set_current_buf(bufnr)
end

--- Two documents side by side, in a tab page of their own.
---@param left string URI
---@param right string URI
function M.diff(left, right)
  vim.cmd.tabnew()
  vim.bo.bufhidden = "wipe"
  M.open(left)
  vim.cmd.diffthis()
  vim.cmd("rightbelow vertical split")
  M.open(right)
  vim.cmd.diffthis()
end

return M
