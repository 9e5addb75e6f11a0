//! Model providers behind one request, one stream of events, one usage.
