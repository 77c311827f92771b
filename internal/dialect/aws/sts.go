package aws

import "net/http"

// query answers the query protocol of STS: a form, and XML.
func (x *exchange) query(w http.ResponseWriter, _ *http.Request) {
	newFault("UnknownOperationException", "").write(w)
}
