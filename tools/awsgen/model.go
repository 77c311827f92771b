package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// model is what the code is made from: botocore's form of a service model, without its documentation.
type model struct {
	Source     string               `json:"source"`
	Licence    string               `json:"licence"`
	Operations map[string]operation `json:"operations"`
	Shapes     map[string]*shape    `json:"shapes"`
}

type operation struct {
	Input  string   `json:"input,omitempty"`
	Output string   `json:"output,omitempty"`
	Errors []string `json:"errors,omitempty"`
}

type shape struct {
	Type      string            `json:"type"`
	Required  []string          `json:"required,omitempty"`
	Members   map[string]string `json:"members,omitempty"` // name → shape
	Member    string            `json:"member,omitempty"`  // of lists
	Enum      []string          `json:"enum,omitempty"`
	Min       *int              `json:"min,omitempty"`
	Max       *int              `json:"max,omitempty"`
	Pattern   string            `json:"pattern,omitempty"`
	Sensitive bool              `json:"sensitive,omitempty"`
}

// botocore is the service model as boto/botocore publishes it.
type botocore struct {
	Operations map[string]struct {
		Input, Output struct{ Shape string }
		Errors        []struct{ Shape string }
	}
	Shapes map[string]struct {
		Type     string
		Required []string
		Members  map[string]struct {
			Shape     string
			Sensitive bool
		}
		Member    struct{ Shape string }
		Enum      []string
		Min, Max  *int
		Pattern   string
		Sensitive bool
		Exception bool
	}
}

// listing is the list of operations and enumerations of a newer SDK.
type listing struct {
	Source     string
	Operations map[string]struct{ Input, Output []listed }
	Enums      map[string][]string
}

type listed struct {
	Name, Type string
	Required   bool
}

// merge makes the model of botocore's, and of what an SDK has beyond it.
func merge(botocorePath, listingPath string) (*model, error) {
	var b botocore
	var l listing
	if err := read(botocorePath, &b); err != nil {
		return nil, err
	}
	if err := read(listingPath, &l); err != nil {
		return nil, err
	}
	m := &model{Source: "boto/botocore botocore/data/kms/2014-11-01/service-2.json, without documentation; beyond it " + l.Source,
		Licence: "Apache-2.0", Operations: map[string]operation{}, Shapes: map[string]*shape{}}
	for name, o := range b.Operations {
		op := operation{Input: o.Input.Shape, Output: o.Output.Shape}
		for _, e := range o.Errors {
			op.Errors = append(op.Errors, e.Shape)
		}
		m.Operations[name] = op
	}
	for name, s := range b.Shapes {
		if s.Exception {
			continue
		}
		out := &shape{Type: s.Type, Required: s.Required, Member: s.Member.Shape, Enum: s.Enum, Min: s.Min, Max: s.Max, Pattern: s.Pattern, Sensitive: s.Sensitive}
		for member, of := range s.Members {
			if out.Members == nil {
				out.Members = map[string]string{}
			}
			out.Members[member] = of.Shape
		}
		m.Shapes[name] = out
	}
	m.add(&l)
	return m, nil
}

// add takes over what the listing has beyond the model. The algorithms SM2, SM3 and SM4, which are of AWS's regions in China alone,
// are no values here: they are refused like every word that is none.
func (m *model) add(l *listing) {
	for name, values := range l.Enums {
		values = slices.DeleteFunc(values, func(v string) bool { return strings.HasPrefix(v, "SM2") })
		if s := m.Shapes[name]; s != nil {
			s.Enum = values
		} else {
			m.Shapes[name] = &shape{Type: "string", Enum: values}
		}
	}
	for name, o := range l.Operations {
		op, known := m.Operations[name]
		if !known {
			op = operation{Input: name + "Request", Output: name + "Response"}
			m.Operations[name] = op
			m.Shapes[op.Input] = &shape{Type: "structure"}
			m.Shapes[op.Output] = &shape{Type: "structure"}
		}
		m.members(op.Input, o.Input)
		m.members(op.Output, o.Output)
	}
	// Nested shapes are not in the listing: the one member that the SDK's snapshots have beyond the model.
	m.Shapes["KeyMetadata"].Members["EncapsulationAlgorithms"] = m.shapeOf(listed{Name: "EncapsulationAlgorithms", Type: "[]types.EncapsulationAlgorithmSpec"})
}

func (m *model) members(of string, list []listed) {
	s := m.Shapes[of]
	for _, x := range list {
		if _, known := s.Members[x.Name]; known {
			continue
		}
		if s.Members == nil {
			s.Members = map[string]string{}
		}
		s.Members[x.Name] = m.shapeOf(x)
		if x.Required {
			s.Required = append(s.Required, x.Name)
		}
	}
}

// shapeOf finds the shape of a member by its name and its type in Go: members of one name have one shape in this model.
func (m *model) shapeOf(x listed) string {
	switch x.Name {
	case "KeyId":
		return "KeyIdType"
	case "GrantTokens":
		return "GrantTokenList"
	case "DryRun":
		return "NullableBooleanType"
	case "SharedSecretCiphertextBlob":
		return "CiphertextType"
	case "SharedSecret":
		return "PlaintextType"
	}
	if of, list := strings.CutPrefix(x.Type, "[]types."); list {
		m.Shapes[of+"List"] = &shape{Type: "list", Member: of}
		return of + "List"
	}
	of, is := strings.CutPrefix(x.Type, "types.")
	if !is {
		panic(fmt.Sprintf("member %s of type %s: say which shape it has", x.Name, x.Type))
	}
	return of
}

func read(path string, to any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
