package iam

import (
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// Change is one kind of change that UpdateKey makes. AWS has an action of its own for most of them.
type Change string

// The kinds of changes.
const (
	ChangeDescription Change = "description"
	SetLabel          Change = "set-label"
	RemoveLabel       Change = "remove-label"
	AddAlias          Change = "add-alias"
	RemoveAlias       Change = "remove-alias"
	ChangeOther       Change = "other" // the name, the class, presets: AWS has none of these
)

// AllChanges lists the kinds.
func AllChanges() []Change {
	return []Change{ChangeDescription, SetLabel, RemoveLabel, AddAlias, RemoveAlias, ChangeOther}
}

// action is one action that a document can name: what of this server it permits or denies.
type action struct {
	name    string       // without kms:
	does    []kms.Action // nothing: the server has nothing of the kind
	changes []Change     // of UpdateKey, where does has it: only these
}

// table has a row for every action of AWS KMS whose meaning is not the action of that name. All others are those of this server,
// by their own names: most are AWS's as well.
func table() []action {
	update := func(name string, c ...Change) action { return action{name, []kms.Action{kms.UpdateKey}, c} }
	return []action{
		{name: "CancelKeyDeletion", does: []kms.Action{kms.CancelKeyDestruction}},
		{name: "ScheduleKeyDeletion", does: []kms.Action{kms.ScheduleKeyDestruction, kms.AssessKey}},
		update("CreateAlias", AddAlias),
		update("UpdateAlias", AddAlias, RemoveAlias),
		update("DeleteAlias", RemoveAlias),
		update("TagResource", SetLabel),
		update("UntagResource", RemoveLabel),
		update("UpdateKeyDescription", ChangeDescription),
		update(kms.UpdateKey.String(), AllChanges()...),
		{name: "EnableKeyRotation", does: []kms.Action{kms.ScheduleRotation}},
		{name: "DisableKeyRotation", does: []kms.Action{kms.ScheduleRotation}},
		{name: "GetKeyRotationStatus", does: []kms.Action{kms.DescribeKey}},
		{name: "ListKeyRotations", does: []kms.Action{kms.DescribeKey}},
		{name: "ListResourceTags", does: []kms.Action{kms.DescribeKey}},
		{name: "ListAliases", does: []kms.Action{kms.ListKeys}},
		{name: "RotateKeyOnDemand", does: []kms.Action{kms.RotateKey}},
		{name: "GetParametersForImport", does: []kms.Action{kms.CreateImportToken}},
		{name: "DeleteImportedKeyMaterial", does: []kms.Action{kms.ExpireKeyMaterial}},
		{name: "GetKeyLastUsage", does: []kms.Action{kms.ReadUsage}},
		{name: "ListKeyPolicies", does: []kms.Action{kms.GetKeyPolicy}},
		{name: "ReEncrypt", does: []kms.Action{kms.ReEncryptFrom, kms.ReEncryptTo}},
		{name: "SynchronizeMultiRegionKey"},
		{name: "ConnectCustomKeyStore"}, {name: "CreateCustomKeyStore"}, {name: "DeleteCustomKeyStore"},
		{name: "DescribeCustomKeyStores"}, {name: "DisconnectCustomKeyStore"}, {name: "UpdateCustomKeyStore"},
	}
}

// elsewhere are actions on the namespace that documents can name: AWS has them too.
var elsewhere = []kms.Action{kms.ListKeys, kms.GenerateRandom, kms.ListRetirableGrants}

// both are actions that a row of the table does besides, and that documents name as well.
var both = []kms.Action{kms.DescribeKey, kms.ListKeys, kms.GetKeyPolicy, kms.ReEncryptFrom, kms.ReEncryptTo, kms.AssessKey}

// actions is every action that a document can name. What AWS calls otherwise goes by AWS's name alone.
func actions() []action {
	all := table()
	for _, a := range kms.AllActions() {
		known := func(x action) bool {
			return x.name == a.String() || slices.Contains(x.does, a) && !slices.Contains(both, a)
		}
		if (a.OnKey() && a.Group() != kms.OperatorGroup || slices.Contains(elsewhere, a)) && !slices.ContainsFunc(all, known) {
			all = append(all, action{name: a.String(), does: []kms.Action{a}})
		}
	}
	return all
}

// choice is what actions a statement names.
type choice struct {
	whole   []kms.Action // each without condition
	changes []Change     // of UpdateKey, if that is not among them
	every   bool         // everything that there is
}

// choose finds the actions that one of the patterns names; not: that none does. Actions of the exception group are permitted by
// their full name only, as everywhere; they are denied, and handed on, by patterns too.
func (c *compiler) choose(at value, not bool) choice {
	all := actions()
	named := make([]bool, len(all))
	byName := make([]bool, len(all))
	var out choice
	for _, v := range c.strings(at) {
		service, name, found := strings.Cut(v.text, ":")
		switch {
		case v.text == "*":
			name = "*"
		case !found || service == "":
			c.report(v, "an action is named SERVICE:NAME", "for example kms:Decrypt")
			continue
		case !wild(strings.ToLower(service)).matches("kms"):
			continue // of another service: it is never asked for here
		}
		p := wild(strings.ToLower(name))
		_, plain := p.literal()
		hit := false
		for i := range all {
			if p.matches(strings.ToLower(all[i].name)) {
				named[i], byName[i], hit = true, byName[i] || plain, true
			}
		}
		if !hit {
			c.report(v, "there is no such action of keys", nearestAction(name, all))
		}
		out.every = out.every || p.anything()
	}
	parts := map[Change]bool{}
	for i, a := range all {
		if named[i] == not {
			continue
		}
		for _, one := range a.does {
			switch {
			case one == kms.UpdateKey:
				for _, p := range a.changes {
					if !not || !c.excepted(all, named, one, p) {
						parts[p] = true
					}
				}
			case one.Group() == kms.ExceptionGroup && c.permit && !c.delegating && (!byName[i] || not):
			case not && c.excepted(all, named, one, ""):
			case !slices.Contains(out.whole, one):
				out.whole = append(out.whole, one)
			}
		}
	}
	for _, p := range AllChanges() {
		if parts[p] {
			out.changes = append(out.changes, p)
		}
	}
	if len(out.changes) == len(AllChanges()) {
		out.whole, out.changes = append(out.whole, kms.UpdateKey), nil
	}
	out.every = out.every && !not
	return out
}

// excepted tells whether NotAction leaves an action out that several rows do: from what is permitted if any of these rows is named, from what is
// denied if those are that are called like it, or all of them where none is.
func (c *compiler) excepted(all []action, named []bool, one kms.Action, change Change) bool {
	some, every, own, ownNamed := false, true, false, false
	for i, a := range all {
		if !slices.Contains(a.does, one) || change != "" && !slices.Contains(a.changes, change) {
			continue
		}
		some = some || named[i]
		if a.name == one.String() && change == "" {
			own, ownNamed = true, named[i]
		}
		every = every && (named[i] || a.name == one.String())
	}
	switch {
	case c.permit:
		return some
	case own:
		return ownNamed
	}
	return every
}

func nearestAction(name string, all []action) string {
	best, most := "", 2
	for _, a := range all {
		n := 0
		for n < min(len(name), len(a.name)) && strings.EqualFold(name[:n+1], a.name[:n+1]) {
			n++
		}
		if n > most {
			best, most = a.name, n
		}
	}
	if best == "" {
		return ""
	}
	return "the nearest is kms:" + best
}

// Operations are the names of actions that a grant can permit (AWS KMS API, GrantOperation), with what they permit here.
func Operations() map[string]kms.Action {
	all := map[string]kms.Action{}
	for _, a := range []kms.Action{
		kms.Decrypt, kms.Encrypt, kms.GenerateDataKey, kms.GenerateDataKeyWithoutPlaintext, kms.ReEncryptFrom, kms.ReEncryptTo, kms.Sign, kms.Verify,
		kms.GetPublicKey, kms.CreateGrant, kms.RetireGrant, kms.DescribeKey, kms.GenerateDataKeyPair, kms.GenerateDataKeyPairWithoutPlaintext,
		kms.GenerateMAC, kms.VerifyMAC, kms.DeriveSharedSecret, kms.Encapsulate, kms.Decapsulate,
	} {
		all[a.String()] = a
	}
	return all
}
