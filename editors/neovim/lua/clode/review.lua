--- Hunks under review: drawn where the server says they are, answered by their id.
local server = require("clode.server")
local state = require("clode.state")
local text = require("clode.text")

local M = {}

local namespace = vim.api.nvim_create_namespace("clode.review")
--- Lines of new text shown below a hunk; the rest is in `:Clode diff`.
local NEW_LINES_MAX = 20

local LOOKS = {
  pending = { sign = "▌", group = "ClodePending", hint = ":Clode accept, :Clode discard" },
  conflict = { sign = "!", group = "ClodeConflict", hint = "conflict: :Clode diff" },
  failed = { sign = "!", group = "ClodeConflict", hint = "not applied: :Clode accept tries again" },
  unconfirmed = { sign = "?", group = "ClodePending" },
  applied = { sign = "▌", group = "ClodeApplied" },
}
local OPEN = { pending = true, conflict = true, failed = true }

---@param bufnr integer
---@param row integer
---@return integer
local function clamp(bufnr, row)
  return math.max(0, math.min(row, vim.api.nvim_buf_line_count(bufnr) - 1))
end

---@param hunk table Hunk
---@return integer first
---@return integer past one after the last; equal to `first` for an insertion
local function rows(hunk)
  local first, last = hunk.range.start, hunk.range["end"]
  return first.line, last.character > 0 and last.line + 1 or last.line
end

---@param hunk table Hunk
---@param look table
---@return table[][]
local function virtual_lines(hunk, look)
  local head = ("clode · %s"):format(hunk.state)
  if text.present(hunk.reason) then
    head = head .. " · " .. hunk.reason
  end
  if look.hint then
    head = head .. " · " .. look.hint
  end
  local lines = { { { head, look.group } } }
  local new = vim.split(text.present(hunk.newText) or "", "\n", { plain = true, trimempty = true })
  for index, line in ipairs(new) do
    if index > NEW_LINES_MAX then
      lines[#lines + 1] = { { ("… %d more lines"):format(#new - NEW_LINES_MAX), look.group } }
      break
    end
    lines[#lines + 1] = { { "+ " .. line, "ClodeNew" } }
  end
  return lines
end

---@param bufnr integer
---@param hunk table Hunk
local function draw_hunk(bufnr, hunk)
  local look = LOOKS[hunk.state]
  if not look or not text.present(hunk.range) then
    return
  end
  local first, past = rows(hunk)
  local anchor = clamp(bufnr, past > first and past - 1 or first)
  -- Neovim does not show virtual lines above the first line, so a text for there stands below it.
  local is_above = past == first and first == anchor and first > 0
  vim.api.nvim_buf_set_extmark(bufnr, namespace, anchor, 0, {
    sign_text = look.sign,
    sign_hl_group = look.group,
    virt_lines = OPEN[hunk.state] and virtual_lines(hunk, look) or nil,
    virt_lines_above = is_above,
  })
  if OPEN[hunk.state] then
    for row = clamp(bufnr, first), math.min(past, vim.api.nvim_buf_line_count(bufnr)) - 1 do
      vim.api.nvim_buf_set_extmark(bufnr, namespace, row, 0, { line_hl_group = "ClodeOld" })
    end
  end
end

---@param bufnr integer
function M.draw(bufnr)
  vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  local review = state.review(vim.uri_from_bufnr(bufnr))
  for _, hunk in ipairs(review and review.hunks or {}) do
    draw_hunk(bufnr, hunk)
  end
end

---@param uri string
function M.draw_uri(uri)
  local bufnr = vim.fn.bufnr(vim.uri_to_fname(uri))
  if bufnr ~= -1 and vim.api.nvim_buf_is_loaded(bufnr) then
    M.draw(bufnr)
  end
end

--- Pipeline and ids of hunks that the server named in a diagnostic, by the place of the diagnostic.
---@return { uri: string, row: integer, pipeline_id: string?, hunks: string[] }[]
local function from_diagnostics()
  local found = {}
  for _, diagnostic in ipairs(vim.diagnostic.get()) do
    local data = vim.tbl_get(diagnostic, "user_data", "lsp", "data")
    if diagnostic.source == "clode" and type(data) == "table" and text.present(data.hunkIds) then
      found[#found + 1] = {
        uri = vim.uri_from_bufnr(diagnostic.bufnr),
        row = diagnostic.lnum,
        pipeline_id = text.present(data.pipelineId),
        hunks = data.hunkIds,
      }
    end
  end
  return found
end

--- Every place where something waits for a decision, in order.
---@return { uri: string, row: integer }[]
local function places()
  local found, seen = {}, {}
  local function add(uri, row)
    local key = uri .. "#" .. row
    if not seen[key] then
      seen[key] = true
      found[#found + 1] = { uri = uri, row = row }
    end
  end
  for uri, review in pairs(state.reviews()) do
    for _, hunk in ipairs(review.hunks) do
      if OPEN[hunk.state] then
        add(uri, text.present(hunk.range) and hunk.range.start.line or 0)
      end
    end
  end
  for _, named in ipairs(from_diagnostics()) do
    -- Where the review of a file is known, it is the newer word.
    if not state.review(named.uri) then
      add(named.uri, named.row)
    end
  end
  table.sort(found, function(a, b)
    if a.uri ~= b.uri then
      return a.uri < b.uri
    end
    return a.row < b.row
  end)
  return found
end

--- Goes to the next or previous hunk, around the end, through all files.
---@param step 1|-1
function M.go(step)
  local list = places()
  if #list == 0 then
    text.tell("no hunk is under review")
    return
  end
  local uri, row = vim.uri_from_bufnr(0), vim.api.nvim_win_get_cursor(0)[1] - 1
  local function is_after(place)
    return place.uri > uri or (place.uri == uri and place.row > row)
  end
  local function is_before(place)
    return place.uri < uri or (place.uri == uri and place.row < row)
  end
  local target = step > 0 and list[1] or list[#list]
  for index = step > 0 and 1 or #list, step > 0 and #list or 1, step do
    if (step > 0 and is_after or is_before)(list[index]) then
      target = list[index]
      break
    end
  end
  vim.cmd.normal({ "m'", bang = true })
  if target.uri ~= uri then
    vim.cmd.buffer(vim.uri_to_bufnr(target.uri))
  end
  vim.api.nvim_win_set_cursor(0, { clamp(0, target.row) + 1, 0 })
end

--- The hunk under the cursor: its id, and its pipeline where the server said which.
---@return string[]? hunks
---@return string? pipeline_id
local function under_cursor()
  local uri, row = vim.uri_from_bufnr(0), vim.api.nvim_win_get_cursor(0)[1] - 1
  local named = from_diagnostics()
  local review = state.review(uri)
  for _, hunk in ipairs(review and review.hunks or {}) do
    local first, past = 0, 0
    if text.present(hunk.range) then
      first, past = rows(hunk)
      first = clamp(0, first)
    end
    if OPEN[hunk.state] and row >= first and row < math.max(past, first + 1) then
      local pipeline_id = text.present(hunk.pipelineId) or review.pipeline_id
      for _, diagnostic in ipairs(pipeline_id and {} or named) do
        if vim.list_contains(diagnostic.hunks, hunk.id) then
          pipeline_id = diagnostic.pipeline_id
        end
      end
      return { hunk.id }, pipeline_id
    end
  end
  for _, diagnostic in ipairs(named) do
    if diagnostic.uri == uri and diagnostic.row == row then
      return diagnostic.hunks, diagnostic.pipeline_id
    end
  end
end

---@param command string
---@param done string what to say
local function decide(command, done)
  local hunks, pipeline_id = under_cursor()
  local client = hunks and server.need_client()
  if not hunks then
    text.tell("no hunk is under the cursor; :Clode next goes to one", vim.log.levels.WARN)
  elseif client then
    server.request(client, command, { pipelineId = pipeline_id, hunks = hunks }, function(answer)
      M.report(answer, done)
    end)
  end
end

--- Says what became of each file that did not simply go well.
---@param answer table { files }
---@param done string
function M.report(answer, done)
  local problems = {}
  for _, file in ipairs(text.present(answer) and text.present(answer.files) or {}) do
    if file.result == "failed" or file.result == "conflict" or file.result == "unconfirmed" then
      local code = text.present(file.code)
      problems[#problems + 1] = ("%s: %s%s"):format(
        vim.fn.fnamemodify(vim.uri_to_fname(file.uri), ":."),
        file.result,
        code and (" (" .. code .. ")") or ""
      )
    end
  end
  if #problems > 0 then
    text.tell(table.concat(problems, "\n"), vim.log.levels.WARN)
  else
    text.tell(done)
  end
end

function M.accept()
  decide("clode.pipeline.apply", "accepted")
end

function M.discard()
  decide("clode.pipeline.rejectHunks", "discarded")
end

return M
