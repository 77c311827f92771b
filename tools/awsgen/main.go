// awsgen writes the shapes of the AWS KMS API in Go: structs, their decoders, encoders and constraints.
//
//	awsgen -model MODEL -out FILE                                  from the model in the repository
//	awsgen -model MODEL -botocore SERVICE-2.JSON -listing OPERATIONS.JSON    makes that model anew
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"os"
)

func main() {
	path := flag.String("model", "", "the model")
	out := flag.String("out", "", "the Go file to write")
	service := flag.String("botocore", "", "botocore's service model, to make the model of")
	listing := flag.String("listing", "", "operations and enumerations of a newer SDK, to add to it")
	flag.Parse()
	if err := run(*path, *out, *service, *listing); err != nil {
		fmt.Fprintln(os.Stderr, "awsgen:", err)
		os.Exit(1)
	}
}

func run(path, out, service, listing string) error {
	if service != "" {
		m, err := merge(service, listing)
		if err != nil {
			return err
		}
		b, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(b, '\n'), 0o644) //nolint:gosec // G306: a file of the repository
	}
	var m model
	if err := read(path, &m); err != nil {
		return err
	}
	text, err := format.Source(m.code())
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644) //nolint:gosec // G306: a file of the repository
}
