--- Where a task begins: the document, the range and what other tools say about it.
local M = {}

--- A position as the server counts, from a byte column.
---@param bufnr integer
---@param row integer
---@param column integer
---@param encoding string
---@return lsp.Position
local function position(bufnr, row, column, encoding)
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ""
  return { line = row, character = vim.str_utfindex(line, encoding, math.min(column, #line), false) }
end

---@param bufnr integer
---@param row integer
---@return integer
local function width(bufnr, row)
  return #(vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or "")
end

---@param bufnr integer
---@param first integer
---@param last integer
---@param encoding string
---@return lsp.Diagnostic[]
local function diagnostics(bufnr, first, last, encoding)
  local found = {}
  for _, diagnostic in ipairs(vim.diagnostic.get(bufnr)) do
    local end_row = diagnostic.end_lnum or diagnostic.lnum
    if diagnostic.source ~= "clode" and diagnostic.lnum <= last and end_row >= first then
      found[#found + 1] = {
        range = {
          start = position(bufnr, diagnostic.lnum, diagnostic.col, encoding),
          ["end"] = position(bufnr, end_row, diagnostic.end_col or diagnostic.col, encoding),
        },
        severity = diagnostic.severity,
        code = diagnostic.code,
        source = diagnostic.source,
        message = diagnostic.message,
      }
    end
  end
  return found
end

--- The context of `clode.run`: the lines of the range, else the place of the cursor.
---@param client vim.lsp.Client
---@param call table of nvim_create_user_command
---@return table
function M.of(client, call)
  local bufnr, encoding = vim.api.nvim_get_current_buf(), client.offset_encoding
  local cursor = vim.api.nvim_win_get_cursor(0)
  local first, last = cursor[1] - 1, cursor[1] - 1
  local from, to = cursor[2], cursor[2]
  if call.range > 0 then
    first, last = call.line1 - 1, call.line2 - 1
    from, to = 0, width(bufnr, last)
  end
  return {
    textDocument = { uri = vim.uri_from_bufnr(bufnr), version = vim.lsp.util.buf_versions[bufnr] },
    range = { start = position(bufnr, first, from, encoding), ["end"] = position(bufnr, last, to, encoding) },
    diagnostics = diagnostics(bufnr, first, last, encoding),
  }
end

return M
