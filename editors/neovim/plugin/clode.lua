-- Set-up that happens once, when Neovim starts. Everything else is loaded on first use.
if vim.g.loaded_clode then
  return
end
vim.g.loaded_clode = 1

local group = vim.api.nvim_create_augroup("clode", { clear = true })

vim.api.nvim_create_user_command("Clode", function(call)
  require("clode.command").run(call)
end, {
  nargs = "*",
  range = true,
  desc = "A team of coding agents: run, approve, review",
  complete = function(lead, line)
    return require("clode.command").complete(lead, line)
  end,
})

-- The pattern must hold the slashes: one without them is compared with the last part of the path only.
vim.api.nvim_create_autocmd("BufReadCmd", {
  group = group,
  pattern = "clode://*",
  desc = "Ask clode-ls for the text of a virtual document",
  callback = function(event)
    require("clode.document").read(event.buf, event.match)
  end,
})

vim.api.nvim_create_autocmd("LspAttach", {
  group = group,
  desc = "Learn what the server knows, and draw the hunks of this file",
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == "clode" then
      require("clode.state").attached(client)
      require("clode.review").draw(event.buf)
    end
  end,
})

-- `vim.lsp.enable` attaches on FileType, which a file of an unknown type never gets.
vim.api.nvim_create_autocmd({ "BufReadPost", "BufNewFile" }, {
  group = group,
  desc = "Attach clode-ls to files without a file type",
  callback = function(event)
    vim.schedule(function()
      require("clode.server").attach_untyped(event.buf)
    end)
  end,
})

for name, link in pairs({
  ClodePending = "DiagnosticInfo",
  ClodeConflict = "DiagnosticWarn",
  ClodeApplied = "DiagnosticHint",
  ClodeOld = "DiffDelete",
  ClodeNew = "DiffAdd",
}) do
  vim.api.nvim_set_hl(0, name, { link = link, default = true })
end
