"""Files of users and groups: each form that htpasswd and crypt(3) write, and lines that are wrong or strange."""

from __future__ import annotations

PASSWORDS = {
    "users": r"""# everybody's password is "secret", but for those below plain

bcrypt:$2y$04$PNoDYjy1/mXTnVqPUn02J.r/lcPaGmCl2meWbF1dXXXZ3FCV2gds.
apr1:$apr1$eDFjglFX$Q2DbKP0spmpXOl4XcmgcU/
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
des:0ec22MyE4awh.
sha256:$5$rounds=1000$KyHPrQkCGfnbJa5t$JtEZsXbCqNcStXzGiwWBpABpg2lRkzyiLhYWteRQylB
sha512:$6$rounds=1000$1Z77eTFDdDf66sUA$sYRtQXRGyoh/c46M5swgQxrfHntLGLsr8wHjIgP8GFIdQgkbqo2tpFMgdcWDTEWbyRgYkkZ7DdZ4qzADr4Plt/
plain:secret
md5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//
yescrypt:$y$j75$saltsalt$0gBD67sgmJgRX3RZ6wHHO7sHimQEWGCWN85o4Twogh2
bcrypt2a:$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW
bcrypt2b:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW
colon:$apr1$CZTy.OcM$LUX3WqWJ.bLmZW2M5XgcT.
jürgen:$apr1$00tyMkNN$f50v2tvMOIHDHHl0TXNar0
empty:$apr1$Zt3GEJFv$5RVhDulrzobufnzOYbv0v.
with space:$apr1$01kGyd9M$bvt4jbKcHYG5WUkezMzLR0
   indented:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
#sharp:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
twice:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=
twice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
more:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:100:more
colons::{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
none:
star:*0
continued\
line:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
nothing
ohsesse:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
Sha:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=
""",
    "groups": r"""# groups
makers: bcrypt apr1 "with space"
Writers:sha
  readers : des
makers: sha512
all: sha\
256 sha
ohteam: ohsesse
nobody:
no colon
""",
    "others": "other:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
}
