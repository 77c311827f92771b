package aws

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// aliasName reads the name of an alias that is to be made, moved or deleted, as it is called here.
func aliasName(asked string) (string, error) {
	name, is := strings.CutPrefix(asked, aliasPrefix)
	switch {
	case !is:
		return "", newFault(validation, `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case strings.HasPrefix(name, "aws/"):
		return "", newFault("NotAuthorizedException", "Aliases that begin with alias/aws/ are reserved.")
	}
	here := strings.ReplaceAll(name, ":", ".")
	if err := kms.CheckName(here); err != nil {
		return "", newFault("InvalidAliasNameException", "Alias "+clip(asked)+" is not one that this server can keep: want a letter or digit behind alias/, and nothing that looks like a key id.")
	}
	return here, nil
}

// target is the key that an alias is to lead to: aliases lead to keys, not to aliases.
func (x *exchange) target(asked string) (kms.Ref, error) {
	if _, is := isAlias(asked); is {
		return "", newFault(validation, "Aliases must refer to keys. Not aliases")
	}
	return x.ref(asked)
}

// CreateAlias gives a key a further name.
func (x *exchange) CreateAlias(ctx context.Context, in *CreateAliasInput) (*nothing, error) {
	name, err := aliasName(in.AliasName)
	if err != nil {
		return nil, err
	}
	key, err := x.target(in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit()
	_, err = x.engine.UpdateKey(ctx, x.call, engine.UpdateKeyInput{Key: key, AddAliases: []string{name}, OnlyNew: true})
	return nil, k.or(err,
		instead{kms.CodeExists, "AlreadyExistsException", "An alias with the name " + x.arn(in.AliasName) + " already exists"},
		instead{kms.CodeTooLarge, limitExceeded, "The key has as many aliases as it can have."})
}

// UpdateAlias makes an alias lead to another key of the same kind.
func (x *exchange) UpdateAlias(ctx context.Context, in *UpdateAliasInput) (*nothing, error) {
	name, err := aliasName(in.AliasName)
	if err != nil {
		return nil, err
	}
	key, err := x.target(in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	var to *keySpec
	k := x.admit(func(_ *exchange, k *seen) *fault {
		if to == nil {
			to = k.spec // of the new key, which is asked about first
			return nil
		}
		was := k.spec
		if to.usage == was.usage && to.symmetric() == was.symmetric() {
			return nil
		}
		return newFault(validation, "An alias leads from one KMS key to another of the same type and KeyUsage: not from "+was.spec+" for "+was.usage+" to "+to.spec+" for "+to.usage+".")
	})
	_, err = x.engine.MoveAlias(ctx, x.call, engine.MoveAliasInput{Alias: name, Key: key})
	if to != nil { // the new key was there: what is missing is the alias
		x.asked = in.AliasName
	}
	return nil, k.or(err, instead{kms.CodeTooLarge, limitExceeded, "The key has as many aliases as it can have."})
}

// DeleteAlias frees an alias.
func (x *exchange) DeleteAlias(ctx context.Context, in *DeleteAliasInput) (*nothing, error) {
	name, err := aliasName(in.AliasName)
	if err != nil {
		return nil, err
	}
	x.asked = in.AliasName
	k := x.admit()
	_, err = x.engine.DeleteAlias(ctx, x.call, engine.DeleteAliasInput{Alias: name})
	return nil, k.or(err, instead{kms.CodeNotFound, "NotFoundException", "Alias " + x.arn(in.AliasName) + " is not found."})
}

// ListAliases pages through the aliases of one key, or of all that the caller may describe, in the order of the keys and then of the names.
func (x *exchange) ListAliases(ctx context.Context, in *ListAliasesInput) (*ListAliasesOutput, error) {
	asked, err := readMarker(markAliases, in.Marker)
	if err != nil {
		return nil, err
	}
	from, ok := readAliasPlace(asked)
	if !ok {
		return nil, badMarker()
	}
	limit, err := pageSize(in.Limit, 50, 100)
	if err != nil {
		return nil, err
	}
	list := aliasList{x: x, from: from, room: limit, answer: &ListAliasesOutput{Aliases: []AliasListEntry{}}}
	if in.KeyId != "" {
		key, err := x.ref(in.KeyId)
		if err != nil {
			return nil, err
		}
		k := x.admit()
		out, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: key})
		if err != nil {
			return nil, k.or(err)
		}
		list.add(&out.Key, "")
		return list.answer, nil
	}
	for page := from.page; ; {
		out, err := x.keys(ctx, page, aliasPage)
		if err != nil {
			return nil, err
		}
		for i := range out.Keys {
			if !list.add(&out.Keys[i], page) {
				return list.answer, nil
			}
		}
		if page = out.Next; page == "" {
			return list.answer, nil
		}
	}
}

const aliasPage = 100 // keys that are read together

// aliasPlace is where a list of aliases goes on: behind a name of a key, which is on a page of keys.
type aliasPlace struct {
	page string
	key  kms.ID
	name string
}

func (p aliasPlace) String() string { return p.key.String() + "|" + p.page + "|" + p.name }

func readAliasPlace(s string) (p aliasPlace, ok bool) {
	if s == "" {
		return p, true
	}
	part := strings.SplitN(s, "|", 3)
	if len(part) != 3 || part[2] == "" {
		return p, false
	}
	p.page, p.name = part[1], part[2]
	p.key, ok = kms.ParseID(part[0])
	return p, ok
}

// aliasList is a page under way.
type aliasList struct {
	x      *exchange
	from   aliasPlace
	room   int
	last   aliasPlace
	answer *ListAliasesOutput
}

// add takes the aliases of a key, and tells whether there was room for all of them.
func (l *aliasList) add(k *kms.Key, page string) bool {
	order := bytes.Compare(k.ID[:], l.from.key[:])
	if order < 0 {
		return true
	}
	for _, name := range slices.Sorted(slices.Values(k.Aliases)) {
		if order == 0 && name <= l.from.name {
			continue
		}
		if l.room == 0 {
			l.answer.Truncated, l.answer.NextMarker = true, marker(markAliases, l.last.String())
			return false
		}
		l.room--
		l.last = aliasPlace{page, k.ID, name}
		wire := aliasOnWire(name)
		l.answer.Aliases = append(l.answer.Aliases, AliasListEntry{AliasArn: l.x.arn(wire), AliasName: wire, TargetKeyId: keyID(k.ID)})
	}
	return true
}
