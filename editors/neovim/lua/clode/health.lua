--- `:checkhealth clode`
local M = {}

local NVIM_MIN = "nvim-0.11"

---@return string program
local function program()
  local cmd = vim.lsp.config.clode.cmd
  return type(cmd) == "table" and cmd[1] or "clode-ls"
end

local function check_server()
  local name = program()
  if vim.fn.executable(name) == 0 then
    vim.health.error(("`%s` is not an executable on PATH"):format(name), {
      "install clode-ls and put it on PATH",
      'or name it: vim.lsp.config("clode", { cmd = { "/path/to/clode-ls", "--stdio" } })',
    })
    return
  end
  local ok, probe = pcall(function()
    return vim.system({ name, "--version" }, { text = true, timeout = 5000 }):wait()
  end)
  if ok and probe.code == 0 then
    vim.health.ok(("%s: %s"):format(vim.fn.exepath(name), vim.trim(probe.stdout)))
  else
    vim.health.error(("`%s --version` failed"):format(name), { "run it in a terminal: clode-ls doctor" })
  end
end

local function check_clients()
  if not vim.lsp.is_enabled("clode") then
    vim.health.warn("not enabled", { 'add to init.lua: vim.lsp.enable("clode")' })
  end
  local clients = vim.lsp.get_clients({ name = "clode" })
  if #clients == 0 then
    vim.health.info("no client is running; open a file of a git repository")
  end
  for _, client in ipairs(clients) do
    local version = vim.tbl_get(client, "server_info", "version") or "unknown version"
    vim.health.ok(("running (%s) in %s, %s"):format(version, client.root_dir or "no folder", client.offset_encoding))
    local announced = vim.tbl_get(client.server_capabilities, "experimental", "clode")
    if not announced then
      local hint = "is this clode-ls, and is it new enough?"
      vim.health.warn("the server does not announce `experimental.clode`", { hint })
    end
  end
end

function M.check()
  vim.health.start("clode")
  if vim.fn.has(NVIM_MIN) == 0 then
    vim.health.error("Neovim 0.11 or newer is needed")
    return
  end
  vim.health.ok("Neovim " .. tostring(vim.version()))
  check_server()
  check_clients()
  if vim.fn.executable("git") == 0 then
    vim.health.error("`git` is not on PATH", { "the agents work on git repositories" })
  end
end

return M
