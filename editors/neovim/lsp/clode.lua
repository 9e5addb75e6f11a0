-- What `vim.lsp.enable("clode")` starts. Every file type is served, so there is no `filetypes` list.
---@type vim.lsp.Config
return {
  cmd = { "clode-ls", "--stdio" },
  root_markers = { ".git" },
  root_dir = function(bufnr, on_dir)
    on_dir(require("clode.server").root(bufnr))
  end,
  capabilities = {
    experimental = {
      clode = { version = 1, input = true, documents = true, showDiff = true },
    },
  },
  handlers = require("clode.handlers"),
  on_exit = function(_, _, client_id)
    vim.schedule(function()
      require("clode.state").detached(client_id)
    end)
  end,
}
