# A stand-in for the framework of FreeBSD's ports: it checks what a Makefile must say, answers `-V`, and
# does, to a copy of the sources, what the framework does around the port's own targets.
STAGEDIR?=	/nonexistent
WRKSRC?=	/nonexistent
PROGRAM?=	/nonexistent
PREFIX?=	/usr/local
ETCDIR?=	${PREFIX}/etc/${PORTNAME}
DOCSDIR?=	${PREFIX}/share/doc/${PORTNAME}
EXAMPLESDIR?=	${PREFIX}/share/examples/${PORTNAME}
FILESDIR?=	${.CURDIR}/files
MKDIR=		mkdir -p
INSTALL_DATA=	install -m 0644
INSTALL_MAN=	install -m 0444
STRIP_CMD=	true
RM=		rm -f
REINPLACE_CMD=	sed -i.bak
COPYTREE_SHARE=	sh -c 'cp -R "$$1"/* "$$2"' copytree

.for variable in PORTNAME DISTVERSION CATEGORIES MAINTAINER COMMENT WWW LICENSE
.  if empty(${variable})
.    error ${variable} is not set
.  endif
.endfor
.for category in ${CATEGORIES}
.  if empty(:Umultimedia net www:M${category})
.    error there is no category ${category}
.  endif
.endfor
.if ${COMMENT:[-1]:M*.} || ${COMMENT:[1]:M[a-z]*}
.  error COMMENT ends with a full stop, or begins with a small letter
.endif
# Made by packaging/release as this.
.if ${USES:Mtar\:xz} == ""
.  error the archive of a release is .tar.xz
.endif
.if ${USES:Mcargo} == ""
.  error the port is not on the framework of cargo
.endif
.for file in ${USE_RC_SUBR} ${SUB_FILES}
.  if !exists(${.CURDIR}/files/${file}.in)
.    error there is no files/${file}.in
.  endif
.endfor

.include "${.CURDIR}/Makefile.crates"

SUB_LIST+=	PREFIX=${PREFIX} ETCDIR=${ETCDIR} DOCSDIR=${DOCSDIR}

stage: post-extract post-patch place post-install post-install-DOCS-on post-install-EXAMPLES-on finish

place:
	for folder in bin etc/rc.d share/man/man1 share/man/man5 share/man/man8; do \
		${MKDIR} ${STAGEDIR}${PREFIX}/$$folder; done
	install -m 0755 ${PROGRAM} ${STAGEDIR}${PREFIX}/bin/crtmpserver
	sed ${SUB_LIST:C/([^=]*)=(.*)/-e 's|%%\1%%|\2|g'/} ${.CURDIR}/files/${USE_RC_SUBR}.in \
		>${STAGEDIR}${PREFIX}/etc/rc.d/${USE_RC_SUBR}

finish:
	gzip -n ${STAGEDIR}${PREFIX}/share/man/man?/*
