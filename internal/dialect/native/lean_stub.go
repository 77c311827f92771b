package native

import "net/http"

type leanMethod struct{}

var leanMethods = map[string]*leanMethod{}

func (*leanMethod) serve(*handler, http.ResponseWriter, *http.Request, *exchange) bool { return false }
