--- What the server last told us: pipelines, status, hunks under review. Nothing is computed here.
local text = require("clode.text")

local M = {}

---@class clode.Pipeline
---@field client_id integer
---@field summary table PipelineSummary

---@class clode.Review
---@field client_id integer
---@field uri string
---@field pipeline_id string?
---@field hunks table[]

---@type table<string, clode.Pipeline>
local pipelines = {}
---@type table<integer, table> the last Status of each client
local statuses = {}
---@type table<string, clode.Review> by document URI
local reviews = {}
---@type table<integer, true> clients whose pipelines were asked for
local seeded = {}

---@param client_id integer
---@param summary table PipelineSummary
---@return table? previous summary
function M.put_pipeline(client_id, summary)
  local before = pipelines[summary.pipelineId]
  pipelines[summary.pipelineId] = { client_id = client_id, summary = summary }
  vim.schedule(function()
    vim.cmd.redrawstatus({ bang = true })
  end)
  return before and before.summary
end

---@param client_id integer
---@param list table[] PipelineSummary[]: all that the client knows
function M.put_list(client_id, list)
  for id, pipeline in pairs(pipelines) do
    if pipeline.client_id == client_id then
      pipelines[id] = nil
    end
  end
  for _, summary in ipairs(list) do
    M.put_pipeline(client_id, summary)
  end
end

---@param client_id integer
---@param status table Status
function M.put_status(client_id, status)
  statuses[client_id] = status
end

---@param client_id integer
---@return table?
function M.status(client_id)
  return statuses[client_id]
end

---@param review clode.Review
function M.put_review(review)
  reviews[review.uri] = #review.hunks > 0 and review or nil
end

---@param uri string
---@return clode.Review?
function M.review(uri)
  return reviews[uri]
end

---@return table<string, clode.Review>
function M.reviews()
  return reviews
end

---@param pipeline_id string
---@return clode.Pipeline?
function M.pipeline(pipeline_id)
  return pipelines[pipeline_id]
end

--- Summaries, most urgent first.
---@return table[]
function M.list()
  local list = {}
  for _, pipeline in pairs(pipelines) do
    list[#list + 1] = pipeline.summary
  end
  table.sort(list, text.is_more_urgent)
  return list
end

--- Asks the server for the pipelines that there are.
---@param client vim.lsp.Client
---@param done fun()?
function M.refresh(client, done)
  require("clode.server").request(client, "clode.pipeline.list", nil, function(list)
    M.put_list(client.id, text.present(list) or {})
    if done then
      done()
    end
  end)
end

--- A newly attached server may know much already: approvals survive a restart.
---@param client vim.lsp.Client
function M.attached(client)
  if not seeded[client.id] then
    seeded[client.id] = true
    M.refresh(client)
  end
end

--- Forgets what a client said that is gone.
---@param client_id integer
function M.detached(client_id)
  M.put_list(client_id, {})
  statuses[client_id], seeded[client_id] = nil, nil
  for uri, review in pairs(reviews) do
    if review.client_id == client_id then
      reviews[uri] = nil
    end
  end
end

return M
